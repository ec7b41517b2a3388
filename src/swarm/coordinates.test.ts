import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import type { Coordinate } from '../net/index.ts'
import { distanceMs, NetworkCoordinate } from './coordinates.ts'
import { at } from './routing-testing.ts'

const SEED = 20_260_501
/** What a message may say, see net/wire. */
const MOST_MS = 60_000

/** Nodes that measure each other, each a random other one per round; the median error in the end. */
function medianError(rtt: (a: number, b: number) => number, nodes = 30, rounds = 400): number {
  const random = randomOf('coordinates')
  const places = Array.from({ length: nodes }, () => new NetworkCoordinate(random))
  const of = (index: number): NetworkCoordinate => places[index] as NetworkCoordinate
  for (let round = 0; round < rounds; round++) {
    for (let from = 0; from < nodes; from++) {
      const to = (from + 1 + Math.floor(random() * (nodes - 1))) % nodes
      of(from).update(of(to).current, rtt(from, to))
    }
  }
  const errors = places.flatMap((a, from) =>
    places.slice(0, from).map((b, to) => Math.abs(distanceMs(a.current, b.current) / rtt(from, to) - 1))
  )
  return errors.toSorted((a, b) => a - b)[errors.length >> 1] as number
}

/** Where a node is that has measured others on a line, at -100, 0 and 100 ms. */
function settled(): NetworkCoordinate {
  const own = new NetworkCoordinate(randomOf('settled'))
  honest(own, 100)
  return own
}

function honest(own: NetworkCoordinate, rounds: number): void {
  for (let round = 0; round < rounds; round++) {
    for (const ms of [-100, 0, 100]) own.update(at(ms), Math.abs(30 - ms) + 10)
  }
}

describe('coordinates', () => {
  test('predict round trips on a plane', () => {
    const x = (node: number): number => 40 * (node % 6)
    const y = (node: number): number => 40 * Math.floor(node / 6)
    expect(medianError((a, b) => 5 + Math.hypot(x(a) - x(b), y(a) - y(b)))).toBeLessThan(0.05)
  })

  test('predict round trips that come from the nodes’ own connections', () => {
    const access = (node: number): number => 5 + 3 * (node % 10)
    expect(medianError((a, b) => access(a) + access(b))).toBeLessThan(0.1)
  })

  test('say how sure they are', () => {
    expect(new NetworkCoordinate(Math.random).current.error).toBe(1.5)
    expect(settled().current.error).toBeLessThan(0.1)
  })

  test('come apart when they begin at the same place', () => {
    const [a, b] = [new NetworkCoordinate(randomOf('a')), new NetworkCoordinate(randomOf('b'))]
    for (let round = 0; round < 50; round++) {
      a.update(b.current, 40)
      b.update(a.current, 40)
    }
    expect(distanceMs(a.current, b.current)).toBeCloseTo(40, 0)
  })

  test('predict without adjustments where those are larger than the distance', () => {
    const near = { ...at(10), adjustment: -20 }
    expect(distanceMs(near, at(0))).toBe(10)
    expect(distanceMs({ ...near, adjustment: 2 }, at(0))).toBe(12)
  })
})

describe('a liar', () => {
  const far: Coordinate = { vector: new Array(8).fill(MOST_MS), height: MOST_MS, adjustment: 0, error: 0 }

  test.each([
    ['no time', at(50), 0],
    ['negative time', at(50), -5],
    ['no number', at(50), Number.NaN],
    ['more than ten seconds', at(50), 10_001],
    ['no place', { ...at(50), height: Number.POSITIVE_INFINITY }, 50],
    ['no error', { ...at(50), error: Number.NaN }, 50]
  ])('who says %s is not listened to', (_, other, rtt) => {
    const own = settled()
    const before = own.current
    own.update(other, rtt)
    expect(own.current).toBe(before)
  })

  test('moves others by a bounded distance, which they make good', () => {
    const own = settled()
    const before = distanceMs(own.current, at(100))
    own.update(far, 1)
    expect(Math.abs(distanceMs(own.current, at(100)) - before)).toBeLessThan(110)
    honest(own, 20)
    expect(distanceMs(own.current, at(100))).toBeCloseTo(before, -1)
  })

  test('can’t make others say what is no valid coordinate', () => {
    const ms = (min: number): fc.Arbitrary<number> => fc.double({ min, max: MOST_MS, noNaN: true })
    const vector = fc.array(ms(-MOST_MS), { minLength: 8, maxLength: 8 })
    const other = fc.record({ vector, height: ms(0), adjustment: ms(-MOST_MS), error: ms(0) })
    const samples = fc.array(fc.tuple(other, fc.double()), { maxLength: 100 })
    const honestTimes = fc.array(fc.tuple(other, fc.double({ min: 0, max: 10_000 })), { maxLength: 100 })
    fc.assert(
      fc.property(fc.oneof(samples, honestTimes), (all) => {
        const own = new NetworkCoordinate(randomOf('hostile'))
        for (const [place, rtt] of all) own.update(place, rtt)
        const { vector, height, adjustment, error } = own.current
        for (const value of [...vector, height, adjustment, error]) {
          expect(Math.abs(value)).toBeLessThanOrEqual(MOST_MS)
        }
        expect(height).toBeGreaterThan(0)
        expect(error).toBeLessThan(1.51)
      }),
      { seed: SEED, numRuns: 300 }
    )
  })
})
