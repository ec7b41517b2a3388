import { describe, expect, test } from 'vitest'
import type { SwarmNode } from '../api/swarm.ts'
import { topContributors } from './contributors.ts'
import { modelsFor, nodesFor } from './filter.ts'
import { perMinute, type Sample, withSample } from './history.ts'

const node = (peer: string, ...spans: [model: string, start: number, end: number][]): SwarmNode => ({
  peer,
  spans: spans.map(([model, start, end]) => ({ model, start, end }))
})
const nodes = [
  node('idle'),
  node('small', ['a', 0, 2]),
  node('large', ['a', 0, 4], ['b', 0, 4]),
  node('other', ['b', 4, 6])
]

describe('what is looked at', () => {
  test('contributors are those that host something, the most first', () => {
    expect(topContributors(nodes, 2)).toEqual([
      { peer: 'large', blocks: 8 },
      { peer: 'other', blocks: 2 }
    ])
    expect(topContributors(nodes, 10).map(({ peer }) => peer)).toEqual(['large', 'other', 'small'])
  })

  test('nodes are found by model, by peer, and by a model’s name', () => {
    const peers = (wanted: ReadonlySet<string> | undefined, text: string): string[] =>
      nodesFor(nodes, wanted, text, (id) => `Model ${id.toUpperCase()}`).map(({ peer }) => peer)
    expect(peers(undefined, '')).toEqual(['idle', 'small', 'large', 'other'])
    expect(peers(new Set(['b']), '')).toEqual(['large', 'other'])
    expect(peers(undefined, ' LAR ')).toEqual(['large'])
    expect(peers(undefined, 'model a')).toEqual(['small', 'large'])
    expect(peers(new Set(), '')).toEqual([])
  })

  test('models are chosen by id and by name', () => {
    const rest = { blockCount: 1, isCovered: true, missing: [], holders: [1], nodes: 1, demand: 0 }
    const models = [{ id: 'x', name: 'demo', ...rest }]
    expect([modelsFor(models, 'x').length, modelsFor(models, 'demo').length]).toEqual([1, 1])
    expect([modelsFor(models, '').length, modelsFor(models, 'else').length]).toEqual([1, 0])
  })
})

describe('throughput', () => {
  const sample = (at: number, tokensPerSecond: number): Sample => ({
    at,
    tokensPerSecond,
    answering: 1,
    waiting: 0
  })

  test('is kept for an hour at most', () => {
    let samples: readonly Sample[] = []
    for (let at = 0; at < 2_000; at++) samples = withSample(samples, sample(at, 0))
    expect([samples.length, samples[0]?.at, samples.at(-1)?.at]).toEqual([1_800, 200, 1_999])
  })

  test('is told minute by minute, the latest first', () => {
    expect(perMinute([sample(0, 2), sample(30, 4), sample(60, 10)])).toEqual([sample(60, 10), sample(0, 3)])
  })
})
