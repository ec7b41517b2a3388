import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../src/swarm/testing-clock.ts'
import { randomOf } from '../models/random.ts'
import { delayOf, PROFILES, type WanProfile } from './profiles.ts'
import { Uplink } from './uplink.ts'

const KILOBYTE = 1000

interface Arrival {
  readonly at: number
  readonly bytes: Uint8Array
}

/** A far end that takes what comes at once, or when `take` is called. */
function world(profile: WanProfile, isTaken = true) {
  const clock = new ManualClock()
  const link = { profile }
  const uplink = new Uplink({ clock, random: randomOf('an uplink') }, () => link.profile)
  const connect = () => {
    const arrivals: Arrival[] = []
    const untaken: (() => void)[] = []
    const lane = uplink.lane((bytes, taken) => {
      arrivals.push({ at: clock.now(), bytes })
      if (isTaken) taken()
      else untaken.push(taken)
    })
    const take = (): void => {
      for (const taken of untaken.splice(0)) taken()
    }
    return { lane, arrivals, take, got: () => Buffer.concat(arrivals.map(({ bytes }) => bytes)) }
  }
  return { clock, link, connect }
}

const nothing = (): void => {}

function bytesOf(length: number, first = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (first + index) % 251)
}

describe('an uplink', () => {
  test('delays by half the round trip, to within half a millisecond', async () => {
    const { clock, connect } = world(delayOf(25))
    const { lane, arrivals } = connect()
    lane.send(bytesOf(10), nothing)
    await clock.advance(100)
    expect(arrivals).toHaveLength(1)
    expect(Math.abs((arrivals[0]?.at ?? 0) - 12.5)).toBeLessThanOrEqual(0.5)
  })

  test('sends as fast as its rate, whatever timers do, and shares it between connections', async () => {
    const { clock, connect } = world(PROFILES.world)
    const [a, b] = [connect(), connect()]
    const limited = (lane: typeof a.lane, times: number): void =>
      lane.send(new Uint8Array(64 * KILOBYTE), () => {
        if (times > 0) queueMicrotask(() => limited(lane, times - 1))
      })
    limited(a.lane, 60)
    limited(b.lane, 60)
    await clock.advance(2_100)
    const seconds = 2
    const expected = (PROFILES.world.bitsPerSecond / 8) * seconds
    const [fromA, fromB] = [a.got().length, b.got().length]
    expect((fromA + fromB) / expected).toBeGreaterThan(0.95)
    expect((fromA + fromB) / expected).toBeLessThan(1.05)
    expect(fromA / fromB).toBeGreaterThan(0.95)
    expect(fromA / fromB).toBeLessThan(1.05)
  })

  test('takes 256 KiB of a connection at once, and the rest as the line takes it', async () => {
    const { clock, connect } = world(PROFILES.world)
    const { lane } = connect()
    let accepted = 0
    lane.send(new Uint8Array(256 * 1024), () => (accepted += 1))
    expect(accepted).toBe(1)
    lane.send(new Uint8Array(100 * KILOBYTE), () => (accepted += 1))
    await clock.advance(20)
    expect(accepted).toBe(1)
    await clock.advance(30) // 100 KB are 40 ms
    expect(accepted).toBe(2)
  })

  test('has no more under way than a window, where the far end does not take it', async () => {
    const { clock, connect } = world(delayOf(10), false)
    const { lane, got, take } = connect()
    for (let time = 0; time < 10; time++) lane.send(new Uint8Array(1024 * 1024), nothing)
    await clock.advance(100)
    expect(got().length).toBe(4 * 1024 * 1024)
    take()
    await clock.advance(100)
    expect(got().length).toBe(8 * 1024 * 1024)
  })

  test('loses so many packets, each of which holds up all behind it for a round trip', async () => {
    const profile = { ...delayOf(100), loss: 0.01 }
    const { clock, connect } = world(profile)
    const count = 5_000
    let late = 0
    for (let time = 0; time < count; time++) {
      const { lane, arrivals } = connect()
      const sent = clock.now()
      lane.send(bytesOf(100), nothing)
      lane.send(bytesOf(100), nothing)
      await clock.advance(300)
      const ms = (arrivals[0]?.at ?? 0) - sent
      if (ms > 100) late += 1
      expect(Math.min(Math.abs(ms - 50), Math.abs(ms - 150))).toBeLessThanOrEqual(0.5)
      expect((arrivals.at(-1)?.at ?? 0) - sent).toBeGreaterThanOrEqual(ms)
    }
    expect(late / count).toBeGreaterThan(0.006)
    expect(late / count).toBeLessThan(0.014)
  }, 120_000)

  test('keeps the order of what it is given, of any sizes and at any times', async () => {
    const sends = fc.array(fc.tuple(fc.nat(200_000), fc.nat(50)), { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(sends, async (sent) => {
        const { clock, connect } = world({ ...PROFILES.bad, loss: 0.2 })
        const { lane, got } = connect()
        const all: Uint8Array[] = []
        for (const [length, waitMs] of sent) {
          const bytes = bytesOf(length, all.length)
          all.push(bytes)
          let isAccepted = false
          lane.send(bytes, () => {
            isAccepted = true
          })
          do await clock.advance(waitMs + 1)
          while (!isAccepted)
        }
        await clock.advance(10_000)
        expect(got().equals(Buffer.concat(all))).toBe(true)
      }),
      { numRuns: 20, seed: 1 }
    )
  })

  test('says when all has come out, and when the other end hears of a cut', async () => {
    const { clock, connect } = world(PROFILES.world)
    const { lane, got } = connect()
    const ends: [string, number][] = []
    lane.send(new Uint8Array(250 * KILOBYTE), nothing) // 100 ms of the line
    lane.flushed(() => ends.push(['flushed', clock.now()]))
    await clock.advance(500)
    expect(ends[0]?.[1]).toBeGreaterThan(149)
    expect(ends[0]?.[1]).toBeLessThan(160)
    const cut = connect()
    cut.lane.send(new Uint8Array(250 * KILOBYTE), nothing)
    await clock.advance(20)
    cut.lane.cut(() => ends.push(['cut', clock.now()]))
    await clock.advance(1_000)
    expect(got().length).toBe(250 * KILOBYTE)
    expect(cut.got().length).toBeLessThan(60 * KILOBYTE) // what had left by then
    expect(cut.got().length).toBeGreaterThan(40 * KILOBYTE)
    expect(ends[1]?.[1]).toBeGreaterThan(569)
    expect(ends[1]?.[1]).toBeLessThan(580)
  })
})
