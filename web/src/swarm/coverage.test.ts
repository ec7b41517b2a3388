import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SwarmModel } from '../api/swarm.ts'
import { describe as describeModel, healthOf, hintsFor, holdersOf, segmentsOf } from './coverage.ts'

const SEED = 20_261_123

function model(holders: readonly number[], more: Partial<SwarmModel> = {}): SwarmModel {
  const missing = segmentsOf(holders)
    .filter((segment) => segment.holders === 0)
    .map(({ start, end }) => [start, end] as const)
  return {
    ...{ id: 'id', name: 'qwen3-8b', blockCount: holders.length, isCovered: missing.length === 0 },
    ...{ missing, holders, nodes: 3, demand: 0, ...more }
  }
}

describe('coverage', () => {
  test('segments are as long as they can be, and together all blocks', () => {
    const property = fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 200 }), (holders) => {
      const segments = segmentsOf(holders)
      expect(
        segments.flatMap(({ start, end, holders: count }) => new Array(end - start).fill(count))
      ).toEqual(holders)
      for (const [index, segment] of segments.entries()) {
        expect(segment.holders).not.toBe(segments[index + 1]?.holders)
      }
    })
    fc.assert(property, { seed: SEED })
  })

  test('where nobody counted, what is missing is known all the same', () => {
    expect(holdersOf(model([], { blockCount: 4, missing: [[1, 3]] }))).toEqual([1, 0, 0, 1])
  })

  test('health tells a gap from a model that nobody hosts, and depth from its lack', () => {
    expect(healthOf(model([2, 2, 3]))).toBe('covered')
    expect(healthOf(model([2, 1, 3]))).toBe('fragile')
    expect(healthOf(model([2, 0, 3]))).toBe('broken')
    expect(healthOf(model([0, 0, 0]))).toBe('absent')
    expect(healthOf(model([], { blockCount: 3, isCovered: true, missing: [] }))).toBe('covered')
  })

  test('hints name each gap, and who could fill it', () => {
    expect(hintsFor(model([1, 0, 2, 0, 0]))).toEqual([
      'Block 1 of qwen3-8b: nobody hosts it; a node could.',
      'Blocks 3–4 of qwen3-8b: nobody hosts them; a node could.'
    ])
    expect(hintsFor(model([2, 0, 0, 2], { bytes: 8e9 }))).toEqual([
      'Blocks 1–2 of qwen3-8b: nobody hosts them; a node with more than 4 GB of free memory could.'
    ])
    expect(hintsFor(model([2, 1, 1, 2]))).toEqual([
      'No second node hosts blocks 1–2: one would keep qwen3-8b going when the first leaves.'
    ])
    expect(hintsFor(model([2, 2]))).toEqual([])
  })

  test('the bar is told in words', () => {
    expect(describeModel(model([1, 1, 0]))).toBe('3 blocks of qwen3-8b. 0–1: 1 node, 2: nobody.')
  })
})
