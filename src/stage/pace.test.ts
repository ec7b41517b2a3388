import { expect, test } from 'vitest'
import { Pace } from './pace.ts'

/** Rounds of a session: `stayMs` here, then away. Returns when it left last. */
function rounds(pace: Pace<string>, session: string, start: number, awayMs: readonly number[]): number {
  let now = start
  pace.left(session, now)
  for (const away of awayMs) {
    now += away
    pace.came(session, now)
    now += 10
    pace.left(session, now)
  }
  return now
}

test('a session that comes regularly is due when it always came', () => {
  const pace = new Pace<string>()
  const left = rounds(pace, 'a', 0, Array(20).fill(100))
  expect(pace.dueMs(left, 10)).toBeCloseTo(100)
  expect(pace.dueMs(left + 95, 10)).toBeCloseTo(5)
  expect(pace.dueMs(left + 105, 10)).toBe(0)
  expect(pace.dueMs(left + 111, 10)).toBe(Number.POSITIVE_INFINITY)
  pace.came('a', left + 120)
  expect(pace.dueMs(left + 120, 10)).toBe(Number.POSITIVE_INFINITY)
})

test('one that comes when it likes is not foretold', () => {
  const pace = new Pace<string>()
  const left = rounds(pace, 'a', 0, [100, 20, 300, 50, 400, 10])
  expect(pace.dueMs(left, 10)).toBe(Number.POSITIVE_INFINITY)
})

test('a session decodes until it has been away for a tenth of a second, or four of its rounds', () => {
  const pace = new Pace<string>()
  const left = rounds(pace, 'a', 0, [10])
  expect([pace.decoding(left + 100), pace.decoding(left + 101)]).toEqual([1, 0])
  const later = rounds(pace, 'b', left, Array(20).fill(2_000))
  expect([pace.decoding(later + 8_000), pace.decoding(later + 8_001)]).toEqual([1, 0])
  pace.forget('b')
  expect(pace.decoding(later)).toBe(0)
  pace.left('c', later)
  expect([pace.decoding(later + 1_000), pace.decoding(later + 1_001)]).toEqual([1, 0])
})

test('a stream of windows is not foretold, decodes for a second, and makes rounds again after some single rows', () => {
  const pace = new Pace<string>()
  let now = rounds(pace, 'a', 0, Array(20).fill(100))
  for (let window = 0; window < 20; window++) {
    now += 20
    pace.came('a', now, 8, true)
    pace.left('a', now + 5)
    expect(pace.dueMs(now + 5, 100)).toBe(Number.POSITIVE_INFINITY)
    expect(pace.mayCome(now + 5, 100)).toBe(false)
  }
  expect(pace.shortestMs).toBeCloseTo(20, 0)
  expect(pace.rows(now)).toBe(8)
  expect([pace.decoding(now + 1_005), pace.decoding(now + 1_006)]).toEqual([1, 0])
  const left = rounds(pace, 'a', now + 5, Array(20).fill(100))
  expect(pace.dueMs(left, 10)).toBeCloseTo(100)
  expect(pace.rows(left)).toBe(1)
})

test('a pause between two questions is no round', () => {
  const pace = new Pace<string>()
  const left = rounds(pace, 'a', 0, [50, 50, 60_000, 50, 50, 50, 50])
  expect(pace.dueMs(left, 10)).toBeCloseTo(50)
})
