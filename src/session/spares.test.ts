import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ChainHop } from '../swarm/index.ts'
import { type Replacement, Spares } from './spares.ts'
import { place } from './testing.ts'

const SEED = 20_260_301
const CHAIN = [place('a', 0, 3), place('b', 3, 6), place('c', 6, 8)]

function spares(others: readonly ChainHop[], chain = CHAIN): Spares {
  return new Spares({ stages: [...chain, ...others], refresh: async () => {} }, chain[0] as ChainHop, 'f32')
}

/** As "from-to: start-end of peer, ...". */
function words(replacement: Replacement | undefined): string | undefined {
  if (replacement === undefined) return undefined
  const places = replacement.places.map(({ start, end, peer }) => `${start}-${end} of ${peer}`)
  return `${replacement.from}-${replacement.to}: ${places.join(', ')}`
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

test('who takes over speaks what the session is in, whatever else is theirs', () => {
  const speaking = ({ stage, ...rest }: ChainHop, codecs: string[] | undefined): ChainHop => ({
    ...rest,
    stage: { ...stage, codecs, profile: { ...stage.profile, codec: codecs?.[0] ?? 'f32' } }
  })
  const others = [
    speaking(place('d', 3, 6), undefined),
    speaking(place('e', 3, 6), ['f16', 'q8']),
    place('f', 3, 6)
  ]
  const found = spares(others)
  found.failed('b')
  found.codec = 'q8'
  expect(words(found.replace(CHAIN, 1, 2))).toBe('1-2: 3-6 of e')
  found.codec = 'f32'
  expect(words(found.replace(CHAIN, 1, 2))).toBe('1-2: 3-6 of d')
})

describe('a lost hop', () => {
  test('is replaced by one that begins there, and is left where the next one begins', () => {
    const found = spares([place('d', 3, 6), place('e', 3, 7)])
    found.failed('b')
    expect(words(found.replace(CHAIN, 1, 2))).toBe('1-2: 3-6 of d')
    found.failed('d')
    expect(words(found.replace(CHAIN, 1, 2))).toBe('1-2: 3-6 of e')
  })

  test('is replaced by as few as possible', () => {
    const parts = [place('d', 3, 4), place('e', 4, 6), place('f', 4, 5), place('g', 5, 7)]
    const found = spares(parts)
    found.failed('b')
    expect(words(found.replace(CHAIN, 1, 2))).toBe('1-2: 3-4 of d, 4-6 of e')
  })

  test('takes the hops before along where nobody can be entered at its start', () => {
    const found = spares([place('d', 0, 6), place('e', 2, 6)])
    found.failed('b')
    expect(words(found.replace(CHAIN, 1, 2))).toBe('0-2: 0-6 of d')
    found.failed('c')
    expect(words(found.replace(CHAIN, 2, 3))).toBeUndefined()
  })

  test('takes along as few of them as possible', () => {
    const found = spares([place('d', 0, 8), place('e', 3, 8)])
    found.failed('c')
    expect(words(found.replace(CHAIN, 2, 3))).toBe('1-3: 3-8 of e')
  })

  test('takes the hops after along where the only others are tails, which can’t be left early', () => {
    const found = spares([place('d', 3, 8)])
    found.failed('b')
    expect(words(found.replace(CHAIN, 1, 2))).toBe('1-3: 3-8 of d')
    const wholes = spares([place('d', 0, 8)])
    wholes.failed('b')
    expect(words(wholes.replace(CHAIN, 1, 2))).toBe('0-3: 0-8 of d')
  })

  test('and its neighbours are replaced by one', () => {
    const found = spares([place('d', 3, 8)])
    for (const peer of ['b', 'c']) found.failed(peer)
    expect(words(found.replace(CHAIN, 1, 3))).toBe('1-3: 3-8 of d')
  })

  test('with the hops before it is replaced by those, too, who still live', () => {
    const found = spares([place('d', 2, 6)], [place('a', 0, 3), place('b', 3, 6), place('c', 6, 8)])
    found.failed('b')
    expect(words(found.replace(CHAIN, 1, 2))).toBe('0-2: 0-2 of a, 2-6 of d')
  })
})

describe('never', () => {
  test('another model or profile', () => {
    const [like] = [place('d', 3, 6)]
    const others = [
      { ...like, stage: { ...like.stage, model: 'b'.repeat(64) } },
      { ...like, stage: { ...like.stage, profile: { ...like.stage.profile, kvTypeK: 'q8_0' } } }
    ]
    const found = spares(others)
    found.failed('b')
    expect(found.replace(CHAIN, 1, 2)).toBeUndefined()
  })

  test('who is to be replaced', () => {
    expect(words(spares([]).replace(CHAIN, 1, 2))).toBe('1-2: 3-6 of b')
    expect(spares([]).replace(CHAIN, 1, 2, 'b')).toBeUndefined()
  })
})

describe('who failed', () => {
  test('is passed over while there are others, however long ago it was', () => {
    const found = spares([place('d', 0, 6)])
    found.failed('b')
    vi.advanceTimersByTime(60_000)
    expect(words(found.replace(CHAIN, 1, 2))).toBe('0-2: 0-6 of d')
  })

  test('is asked again after a while, which doubles', () => {
    const found = spares([])
    const again = (): boolean => found.replace(CHAIN, 1, 2) !== undefined
    for (const ms of [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]) {
      found.failed('b')
      vi.advanceTimersByTime(ms - 1)
      expect(again()).toBe(false)
      vi.advanceTimersByTime(1)
      expect(again()).toBe(true)
    }
  })

  test('is trusted again after a time without failures', () => {
    const found = spares([])
    for (let times = 0; times < 5; times++) found.failed('b')
    vi.advanceTimersByTime(4_000 + 20_001)
    found.failed('b')
    vi.advanceTimersByTime(250)
    expect(words(found.replace(CHAIN, 1, 2))).toBe('1-2: 3-6 of b')
  })
})

describe('any chain, any others, any failures', () => {
  const BLOCKS = 8
  const span = fc
    .tuple(fc.nat(BLOCKS - 1), fc.integer({ min: 1, max: BLOCKS }))
    .map(([start, length]) => [start, Math.min(start + length, BLOCKS)] as const)
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: BLOCKS - 1 }), { maxLength: 3 })
  const setting = fc.record({
    ...{ cuts, spans: fc.array(fc.tuple(span, fc.boolean()), { maxLength: 7 }) },
    ...{ lost: fc.nat(3), more: fc.nat(2) }
  })

  /** The least stages for [from, end), by trying everything. */
  function fewest(stages: readonly ChainHop[], from: number, end: number): number {
    const usable = stages.filter(({ stage }) => !stage.head || stage.end === end)
    const rest = (low: number, high: number): number => {
      if (high >= end) return 0
      const next = usable.filter(({ stage }) => stage.start > low && stage.start <= high)
      return 1 + Math.min(Number.POSITIVE_INFINITY, ...next.map(({ stage }) => rest(stage.start, stage.end)))
    }
    const first = usable.filter(({ stage }) => stage.start === from)
    return 1 + Math.min(Number.POSITIVE_INFINITY, ...first.map(({ stage }) => rest(stage.start, stage.end)))
  }

  test('the narrowest replacement that is possible, by the fewest stages, none of which failed', () => {
    fc.assert(
      fc.property(setting, ({ cuts, spans, lost, more }) => {
        const bounds = [0, ...cuts.toSorted((a, b) => a - b), BLOCKS]
        const chain = bounds.slice(1).map((end, hop) => place(`hop${hop}`, bounds[hop] as number, end))
        const from = Math.min(lost, chain.length - 1)
        const to = Math.min(from + 1 + more, chain.length)
        const others = spans.map(([[start, end]], index) => place(`other${index}`, start, end))
        const failed = [
          ...chain.slice(from, to).map(({ peer }) => peer),
          ...others.filter((_, index) => spans[index]?.[1]).map(({ peer }) => peer)
        ]
        const found = spares(others, chain)
        for (const peer of failed) found.failed(peer)
        const good = [...chain, ...others].filter(({ peer }) => !failed.includes(peer))
        const wider = chain
          .slice(0, from + 1)
          .flatMap(({ start }, first) =>
            chain.slice(to - 1).map(({ end }, index) => ({ first, last: to + index, start, end }))
          )
          .map((range) => ({ ...range, least: fewest(good, range.start, range.end) }))
          .filter(({ least }) => least < Number.POSITIVE_INFINITY)
          .sort((a, b) => a.last - a.first - (b.last - b.first) || a.first - b.first)
        const replacement = found.replace(chain, from, to)
        const [best] = wider
        expect([replacement?.from, replacement?.to]).toEqual([best?.first, best?.last])
        if (replacement === undefined || best === undefined) return
        const { places } = replacement
        expect(places).toHaveLength(best.least)
        expect([...places.map(({ start }) => start), best.end]).toEqual([
          best.start,
          ...places.map(({ end }) => end)
        ])
        for (const { peer, start, end: left, stage } of places) {
          expect(failed).not.toContain(peer)
          expect(start).toBe(stage.start)
          expect(left > start && left <= stage.end).toBe(true)
          expect(left === stage.end || !stage.head).toBe(true)
        }
      }),
      { seed: SEED, numRuns: 1_000 }
    )
  })
})
