import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Meter } from './limits.ts'

const MINUTE_MS = 60_000
let meter: Meter

beforeEach(() => {
  vi.useFakeTimers()
  meter = new Meter()
})
afterEach(() => void vi.useRealTimers())

test('requests of a minute are counted per owner', async () => {
  const limits = { requestsPerMinute: 2 }
  await meter.request('a', limits)
  vi.advanceTimersByTime(20_500)
  await meter.request('a', limits)
  await expect(meter.request('a', limits)).rejects.toMatchObject({
    code: 'LIMITED',
    data: { retryAfterSeconds: 40 }
  })
  await meter.request('b', limits)
  vi.advanceTimersByTime(MINUTE_MS)
  await meter.request('a', limits)
})

test('an answer may outrun its budget, and the next request waits', async () => {
  const limits = { tokensPerMinute: 100 }
  await meter.prompt('a', limits, 60)
  await meter.tokens('a', limits, 200)
  await expect(meter.prompt('a', limits, 1)).rejects.toMatchObject({
    code: 'LIMITED',
    data: { retryAfterSeconds: 60 }
  })
  vi.advanceTimersByTime(MINUTE_MS)
  await meter.prompt('a', limits, 1)
})

test('what was refused, or counted too much, costs nothing', async () => {
  const limits = { tokensPerMinute: 100 }
  await meter.prompt('a', limits, 60)
  await expect(meter.prompt('a', limits, 60)).rejects.toMatchObject({ code: 'LIMITED' })
  await meter.prompt('a', limits, 40)
  await meter.tokens('a', limits, -50)
  await meter.prompt('a', limits, 50)
})

test('a prompt that never fits is told so', async () => {
  await expect(meter.prompt('a', { tokensPerMinute: 100 }, 101)).rejects.toThrow('send less')
})

test('without limits nothing is counted', async () => {
  for (let count = 0; count < 100; count++) {
    await meter.request('a', {})
    await meter.prompt('a', {}, 1e9)
  }
  await meter.request('a', { requestsPerMinute: 1 })
})

test('the store is a setting', async () => {
  const made: [string, number][] = []
  const other = new Meter((name, seconds) => {
    made.push([name, seconds])
    return {
      penalty: async () => ({ consumedPoints: 7, msBeforeNext: 1_500 })
    }
  })
  expect(made).toEqual([
    ['requests', 60],
    ['tokens', 60]
  ])
  await expect(other.request('a', { requestsPerMinute: 6 })).rejects.toMatchObject({
    data: { retryAfterSeconds: 2 }
  })
})
