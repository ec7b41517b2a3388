import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ManualClock } from '../../swarm/testing-clock.ts'
import { TokenBucket } from './token-bucket.ts'

const SEED = 20_261_121

test('a bucket gives its rate and no more than a moment ahead, at whatever times it is asked', async () => {
  const step = fc.record({ pause: fc.nat(500), bytes: fc.integer({ min: 1, max: 64_000 }) })
  const property = fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
    const clock = new ManualClock()
    const bucket = new TokenBucket(clock, 100_000)
    let taken = 0
    for (const { pause, bytes } of steps) {
      await clock.advance(pause)
      if (bucket.waitMs > 0) continue
      // What was taken before is paid for.
      expect(taken).toBeLessThanOrEqual(clock.now() * 100 + 1)
      bucket.take(bytes)
      taken += bytes
    }
  })
  await fc.assert(property, { seed: SEED })
})

test('a rate may change, and none is no bound', async () => {
  const clock = new ManualClock()
  const bucket = new TokenBucket(clock, Number.POSITIVE_INFINITY)
  bucket.take(1e12)
  expect(bucket.waitMs).toBe(0)
  bucket.rate = 1_000
  await clock.advance(1_000)
  bucket.take(1_100)
  expect(bucket.waitMs).toBeGreaterThan(900)
  bucket.rate = 10_000
  expect(bucket.waitMs).toBeLessThan(110)
})
