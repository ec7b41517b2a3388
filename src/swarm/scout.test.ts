import { describe, expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import { needOf, scout } from './scout.ts'
import type { ModelFacts } from './summaries.ts'

function facts(holders: number[], demand: number): ModelFacts {
  const blockCount = holders.length
  return {
    model: '',
    name: '',
    architecture: '',
    blockCount,
    holders: Uint8Array.from(holders),
    nodes: 1,
    demand
  }
}

const MODELS = Array.from({ length: 50 }, (_, index) => `model-${index}`)

test('few models are all followed', () => {
  expect(scout(['a', 'b'], undefined, () => undefined, randomOf('few'))).toEqual(new Set(['a', 'b']))
})

describe('of many models', () => {
  test('the one hosted and two others are', () => {
    const followed = scout(MODELS, 'model-7', () => facts([1], 1), randomOf('many'))
    expect(followed.size).toBe(3)
    expect(followed).toContain('model-7')
  })

  test('those that lack blocks are drawn most, and the others now and then', () => {
    const random = randomOf('need')
    const factsOf = (model: string): ModelFacts =>
      model === 'model-3' ? facts([2, 0], 0) : facts([2, 2], model === 'model-4' ? 20 : 0)
    const counts = new Map<string, number>()
    for (let time = 0; time < 1_000; time++) {
      for (const model of scout(MODELS, undefined, factsOf, random)) {
        counts.set(model, (counts.get(model) ?? 0) + 1)
      }
    }
    expect(counts.get('model-3')).toBeGreaterThan(990)
    expect(counts.get('model-4')).toBeGreaterThan(900)
    expect(counts.size).toBeGreaterThan(20)
  })
})

test('a model needs somebody by what it is asked for, for each holder of its rarest block', () => {
  expect(needOf(facts([4, 2], 10))).toBeCloseTo(5.01)
  expect(needOf(facts([4, 0], 0))).toBeGreaterThan(needOf(facts([1, 1], 90)))
  expect(needOf(undefined)).toBeLessThan(needOf(facts([1], 1)))
})
