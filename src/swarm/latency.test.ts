import { describe, expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import type { Coordinate } from '../net/index.ts'
import { DEFAULT_RTT_MS, Latencies } from './latency.ts'
import { at } from './routing-testing.ts'
import { ManualClock } from './testing-clock.ts'

function latencies(places: Record<string, Coordinate> = {}): { latency: Latencies; clock: ManualClock } {
  const clock = new ManualClock()
  const init = { self: 'me', coordinateOf: (peer: string) => places[peer] }
  return { latency: new Latencies({ clock, random: randomOf('latency') }, init), clock }
}

describe('a link', () => {
  test('between others is what their coordinates predict', () => {
    const { latency } = latencies()
    expect(latency.predict({ peer: 'a', coordinate: at(10) }, { peer: 'b', coordinate: at(90) })).toBe(80)
  })

  test('is a default where a coordinate is missing, or knows nothing', () => {
    const { latency } = latencies()
    const known = { peer: 'a', coordinate: at(10) }
    expect(latency.predict(known, { peer: 'b' })).toBe(DEFAULT_RTT_MS)
    expect(latency.predict({ peer: 'b', coordinate: at(90, 1.5) }, known)).toBe(DEFAULT_RTT_MS)
    expect(latency.predict(latency.here, known)).toBe(DEFAULT_RTT_MS)
    expect(latency.to(known)).toBe(undefined) // a guess is nothing to tell people
    latency.measured('a', 7)
    expect(latency.to(known)).toBe(7)
  })

  test('to itself takes no time', () => {
    const { latency } = latencies()
    expect(latency.predict({ peer: 'a' }, { peer: 'a' })).toBe(0)
    expect(latency.predict(latency.here, latency.here)).toBe(0)
  })

  test('from here is what was measured, for five minutes', async () => {
    const { latency, clock } = latencies({ a: at(10) })
    latency.measured('a', 33)
    const other = { peer: 'a', coordinate: at(10) }
    expect([latency.predict(latency.here, other), latency.predict(other, latency.here)]).toEqual([33, 33])
    await clock.advance(300_001)
    expect(latency.predict(latency.here, other)).not.toBe(33)
  })

  test('is the median of what was measured, so that one queue on the way does not count', () => {
    const { latency } = latencies()
    for (const ms of [30, 500]) latency.measured('a', ms)
    expect(latency.predict(latency.here, { peer: 'a' })).toBe(30)
    latency.measured('a', 34)
    expect(latency.predict(latency.here, { peer: 'a' })).toBe(34)
    for (const ms of [90, 91]) latency.measured('a', ms)
    expect(latency.predict(latency.here, { peer: 'a' })).toBe(90)
  })

  test('is forgotten when many others were measured after it', () => {
    const { latency } = latencies()
    for (let node = 0; node <= 256; node++) latency.measured(`node${node}`, 20)
    expect(latency.predict(latency.here, { peer: 'node0' })).toBe(DEFAULT_RTT_MS)
    expect(latency.predict(latency.here, { peer: 'node1' })).toBe(20)
  })
})

describe('a node', () => {
  const places = Object.fromEntries([-100, -50, 0, 50, 100].map((ms) => [`at${ms}`, at(ms)]))

  test('knows after some measurements where it is', () => {
    const { latency } = latencies(places)
    for (const peer of Object.keys(places)) latency.measured(peer, Math.abs(20 - Number(peer.slice(2))))
    const never = { peer: 'never measured', coordinate: at(70) }
    expect(latency.predict(latency.here, never)).toBeGreaterThan(40)
    expect(latency.predict(latency.here, never)).toBeLessThan(60)
  })

  test('takes what a peer just said of where it is', () => {
    const { latency } = latencies()
    latency.measured('a', 40)
    expect(latency.here.coordinate?.error).toBe(1.5)
    latency.measured('a', 40, at(50))
    expect(latency.here.coordinate?.error).toBeLessThan(1.5)
  })

  test('measures more often in the beginning', () => {
    const { latency } = latencies(places)
    expect(latency.probeAfterMs).toBe(5_000)
    for (let time = 0; time < 16; time++) latency.measured('at0', 20)
    expect(latency.probeAfterMs).toBe(30_000)
  })
})
