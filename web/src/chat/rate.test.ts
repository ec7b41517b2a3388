import { expect, test } from 'vitest'
import { rateOf, seconds, TokenRate } from './rate.ts'

test('a rate is of the last seconds', () => {
  const rate = new TokenRate()
  expect(rate.at(0)).toBeUndefined()
  for (let now = 0; now <= 10_000; now += 10) rate.add(now)
  expect(rate.at(10_000)).toBeCloseTo(100, 0)
  for (let now = 10_000; now <= 20_000; now += 100) rate.add(now)
  expect(rate.at(20_000)).toBeCloseTo(10, 0)
  expect(rate.at(30_000)).toBeUndefined()
})

test('the whole answer’s rate leaves out the first token', () => {
  const timings = { templateMs: 0, tokenizeMs: 0, chainMs: 0, firstTokenMs: 900, decodeMs: 1_000 }
  expect(rateOf({ prompt_tokens: 5, completion_tokens: 101 }, timings)).toBe(100)
  expect(rateOf({ prompt_tokens: 5, completion_tokens: 1 }, timings)).toBeUndefined()
})

test('times in words', () => {
  expect([312, 4_200, 42_000, 125_000].map(seconds)).toEqual(['0.3 s', '4.2 s', '42 s', '2 min'])
})
