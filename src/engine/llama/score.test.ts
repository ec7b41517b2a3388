import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Comparer, lossOf } from './score.ts'

const SEED = 20_261_122
/** 16 nats in 16 bits. */
const STEP = 16 / 65_535

/** In double precision throughout. */
function logProbabilities(logits: Float32Array): number[] {
  const max = Math.max(...logits)
  const normalizer = max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0))
  return Array.from(logits, (logit) => logit - normalizer)
}

function divergence(logits: Float32Array, reference: Float32Array): number {
  const q = logProbabilities(logits)
  return logProbabilities(reference).reduce(
    (sum, logP, id) => sum + Math.exp(logP) * (logP - (q[id] as number)),
    0
  )
}

const rows = fc.integer({ min: 2, max: 200 }).chain((length) => {
  const row = fc.float32Array({ minLength: length, maxLength: length, min: -12, max: 12, noNaN: true })
  return fc.tuple(row, row, fc.nat(length - 1))
})

describe('scores', () => {
  test('the loss is the negative log-probability', () => {
    const property = fc.property(rows, ([logits, , token]) => {
      expect(lossOf(logits, token)).toBeCloseTo(-(logProbabilities(logits)[token] as number), 4)
    })
    fc.assert(property, { seed: SEED })
  })

  test('the divergence is Kullback and Leibler’s, but for the reference’s 16 bits', () => {
    const property = fc.property(rows, ([logits, reference, token]) => {
      const comparer = new Comparer(logits.length)
      const result = comparer.compare(logits, reference, token)
      // What lies more than 16 below the largest is taken for 16 below.
      const expected = divergence(
        logits,
        reference.map((logit) => Math.max(logit, Math.max(...reference) - 16))
      )
      expect(Math.abs(result.divergence - expected)).toBeLessThan(2 * STEP + 1e-4 * Math.abs(expected) + 2e-4)
    })
    fc.assert(property, { seed: SEED })
  })

  test('equal rows have the same top, no divergence and no change', () => {
    const logits = Float32Array.from({ length: 300 }, (_, id) => Math.sin(id * 7) * 9)
    const { divergence, probabilityDelta, sameTop } = new Comparer(300).compare(logits, logits, 5)
    expect(sameTop).toBe(true)
    expect(Math.abs(divergence)).toBeLessThan(STEP)
    expect(Math.abs(probabilityDelta)).toBeLessThan(STEP)
  })

  test('the change is the model’s probability less the reference’s', () => {
    const comparer = new Comparer(2)
    const result = comparer.compare(Float32Array.of(Math.log(3), 0), Float32Array.of(0, 0), 0)
    expect(result.probabilityDelta).toBeCloseTo(0.25, 5)
    expect(result.divergence).toBeCloseTo(0.5 * Math.log(0.5 / 0.75) + 0.5 * Math.log(0.5 / 0.25), 5)
    expect(comparer.compare(Float32Array.of(0, 1), Float32Array.of(1, 0), 0).sameTop).toBe(false)
  })
})
