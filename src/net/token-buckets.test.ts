import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TokenBuckets } from './token-buckets.ts'

const RATE = { burst: 5, perSecond: 2 }

function bucketsAt(clock: { ms: number }): TokenBuckets {
  return new TokenBuckets({ now: () => clock.ms, wall: () => clock.ms, after: () => () => {} }, RATE)
}

test('within any stretch of time nobody takes more than the burst and the rate allow', () => {
  const steps = fc.array(
    fc.record({ waits: fc.integer({ min: 0, max: 2_000 }), who: fc.constantFrom('a', 'b') }),
    {
      maxLength: 200
    }
  )
  fc.assert(
    fc.property(steps, (asked) => {
      const clock = { ms: 0 }
      const buckets = bucketsAt(clock)
      const taken: Record<string, number[]> = { a: [], b: [] }
      for (const { waits, who } of asked) {
        clock.ms += waits
        if (buckets.take(who)) taken[who]!.push(clock.ms)
      }
      for (const times of Object.values(taken)) {
        for (const [from, start] of times.entries()) {
          const most = RATE.burst + ((times.at(-1)! - start) / 1000) * RATE.perSecond
          expect(times.length - from).toBeLessThanOrEqual(most + 1e-6)
        }
      }
    }),
    { seed: 7 }
  )
})

test('who asks at the rate is never refused', () => {
  const clock = { ms: 0 }
  const buckets = bucketsAt(clock)
  for (let i = 0; i < 1_000; i++) {
    expect(buckets.take('a')).toBe(true)
    clock.ms += 500
  }
})

test('many keys are forgotten in the order of use, those in use are not', () => {
  const buckets = bucketsAt({ ms: 0 })
  for (let i = 0; i < 5; i++) buckets.take('busy')
  for (let i = 0; i < 3_000; i++) {
    buckets.take(`other ${i}`)
    expect(buckets.take('busy')).toBe(false)
  }
})
