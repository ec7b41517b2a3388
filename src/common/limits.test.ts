import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../swarm/testing-clock.ts'
import { Limits } from './limits.ts'

const SEED = 20_261_121

describe('limits', () => {
  test('give a burst at once, and then one after each interval', async () => {
    const clock = new ManualClock()
    const limits = new Limits(clock, { burst: 3, everyMs: 1_000 })
    const take = (): boolean => limits.take('a')
    expect([take(), take(), take(), take()]).toEqual([true, true, true, false])
    expect(limits.waitMs('a')).toBe(1_000)
    await clock.advance(1_000)
    expect([take(), take()]).toEqual([true, false])
    await clock.advance(60_000)
    expect([take(), take(), take(), take()]).toEqual([true, true, true, false])
  })

  test('are each key’s own', () => {
    const limits = new Limits(new ManualClock(), { burst: 1, everyMs: 1_000 })
    expect([limits.take('a'), limits.take('b'), limits.take('a')]).toEqual([true, true, false])
  })

  test('never give more than burst and rate allow, and what waitMs says', async () => {
    const property = fc.asyncProperty(fc.array(fc.nat(2_000), { maxLength: 60 }), async (pauses) => {
      const clock = new ManualClock()
      const limits = new Limits(clock, { burst: 4, everyMs: 700 })
      const taken: number[] = []
      for (const pause of pauses) {
        await clock.advance(pause)
        const mayTake = limits.waitMs('a') === 0
        expect(limits.take('a')).toBe(mayTake)
        if (mayTake) taken.push(clock.now())
      }
      for (const [index, first] of taken.entries()) {
        const last = taken.at(-1) as number
        expect(taken.length - index).toBeLessThanOrEqual(4 + (last - first) / 700)
      }
    })
    await fc.assert(property, { seed: SEED })
  })

  test('keep a bounded number of keys, and those that have the longest to wait', () => {
    const limits = new Limits(new ManualClock(), { burst: 2, everyMs: 1e9 })
    const taken = [limits.take('busy'), limits.take('busy')]
    for (let key = 0; key < 40_000; key++) limits.take(String(key))
    expect([...taken, limits.take('busy')]).toEqual([true, true, false])
    expect(['39999', '0'].map((key) => limits.waitMs(key))).toEqual([0, 0])
    expect([limits.take('39999'), limits.take('39999')]).toEqual([true, false])
    expect([limits.take('0'), limits.take('0')]).toEqual([true, true])
  })
})
