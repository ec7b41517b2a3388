import { expect, test } from 'vitest'
import { meanOf, percentile, perplexityOf } from './statistics.ts'

test('means and their standard errors', () => {
  const { value, error } = meanOf(Float64Array.of(1, 2, 3, 4, 10))
  expect(value).toBe(4)
  // Of the population, divided by n - 1: as llama-perplexity does.
  expect(error).toBeCloseTo(Math.sqrt(10 / 4))
  expect(meanOf(Float64Array.of(2, 2, 2))).toEqual({ value: 2, error: 0 })
})

test('perplexity is the exponent of the mean loss', () => {
  const losses = Float64Array.from({ length: 100 }, () => Math.log(50))
  expect(perplexityOf(losses).value).toBeCloseTo(50, 9)
})

test('percentiles lie between their neighbours', () => {
  const sorted = Float64Array.of(0, 10, 20, 30)
  expect([0, 0.5, 0.99, 1].map((fraction) => percentile(sorted, fraction))).toEqual([
    0,
    15,
    expect.closeTo(29.7),
    30
  ])
})
