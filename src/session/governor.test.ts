import { expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import { Governor } from './governor.ts'

const UNKNOWN = { roundTripMs: undefined, workMs: undefined }

/** Decodes so many tokens that take `withMs` or `withoutMs` each; gives the time it took. */
function decode(
  governor: Governor,
  tokens: number,
  withMs: number,
  withoutMs: number,
  round = UNKNOWN
): number {
  const random = randomOf('governor')
  let sum = 0
  for (let token = 0; token < tokens; token++) {
    const ms = (governor.isOn ? withMs : withoutMs) * (0.7 + 0.6 * random())
    governor.drawn(1, ms, governor.isOn, round)
    sum += ms
  }
  return sum
}

test('guesses that pay stay on, and are compared now and then', () => {
  const governor = new Governor()
  const ms = decode(governor, 2_000, 4, 10)
  expect(governor.isOn).toBe(true)
  expect(ms).toBeLessThan(2_000 * 4 * 1.05)
})

test.each([1.2, 1.5, 3, 10])(
  'guesses that make tokens %f times as slow are switched off, and cost next to nothing',
  (factor) => {
    const governor = new Governor()
    decode(governor, 100, 5 * factor, 5)
    const tokens = 20_000
    expect(decode(governor, tokens, 5 * factor, 5)).toBeLessThan(tokens * 5 * 1.01)
  }
)

test('what did not pay is tried again, and kept where it does by then', () => {
  const governor = new Governor()
  decode(governor, 100, 6, 5)
  expect(governor.isOn).toBe(false)
  decode(governor, 2_000, 2, 5)
  expect(governor.isOn).toBe(true)
})

test('where tokens come fast nothing is tried, until they do no longer', () => {
  const governor = new Governor()
  governor.compare()
  expect(decode(governor, 200, 1, 2)).toBeGreaterThan(200 * 2 * 0.95)
  expect(governor.isOn).toBe(false)
  decode(governor, 64, 5, 10)
  expect(governor.isOn).toBe(true)
})

test('nothing is compared over far links, where stages wait', () => {
  const governor = new Governor()
  let off = 0
  for (let token = 0; token < 200; token++) {
    governor.drawn(1, token === 50 ? 9_000 : 190, true, { roundTripMs: 200, workMs: 4 })
    if (!governor.isOn) off += 1
  }
  expect(off).toBe(0)
})

test('nor where tokens come in far less than a round trip', () => {
  const governor = new Governor()
  let off = 0
  for (let token = 0; token < 200; token++) {
    governor.drawn(1, 50, true, { roundTripMs: 100, workMs: 60 })
    if (!governor.isOn) off += 1
  }
  expect(off).toBe(0)
})

test('near stages, what tokens take without guesses is measured first', () => {
  const governor = new Governor()
  governor.compare()
  expect(governor.isOn).toBe(false)
  decode(governor, 8, 2, 5)
  expect(governor.isOn).toBe(true)
})
