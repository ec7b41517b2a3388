import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import { distanceMs } from './coordinates.ts'
import type { HostedStage } from './discover.ts'
import { findChain, findCover, NoChainError } from './routing.ts'
import { type ChainHop, type Costs, costOf, UNKNOWN_LINKS } from './routing-cost.ts'
import type { Range } from './routing-search.ts'
import { at, hosted, MODEL, speed } from './routing-testing.ts'

const SEED = 20_260_102
const PROFILE = hosted(0, 1).stage.profile
const OTHER = { profile: { ...PROFILE, kvTypeK: 'q8_0' } }

/** The consumer is at 0. */
function onALine(demand: { promptTokens: number; answerTokens: number }): Costs {
  const consumer = { peer: 'me', coordinate: at(0) }
  return {
    ...{ ...demand, consumer },
    rttFrom: (from) => (to) => distanceMs(from.coordinate ?? at(0), to.coordinate ?? at(0))
  }
}

const CHAT = onALine({ promptTokens: 20, answerTokens: 100 })

function spans(chain: readonly ChainHop[] | undefined): string[] | undefined {
  return chain?.map(({ peer, start, end }) => `${start}-${end} of ${peer}`)
}

function missing(stages: HostedStage[]): NoChainError {
  try {
    findChain(stages, MODEL)
  } catch (error) {
    if (error instanceof NoChainError) return error
  }
  throw new Error('there is a chain')
}

describe('a chain', () => {
  test('leaves a stage where the next one begins', () => {
    expect(spans(findChain([hosted(3, 8), hosted(0, 6)], MODEL))).toEqual(['0-3 of 0-6', '3-8 of 3-8'])
  })

  test('has the fewest hops where nothing is known of links and speeds', () => {
    const stages = [hosted(0, 2), hosted(2, 4), hosted(4, 8), hosted(0, 5), hosted(5, 8), hosted(3, 6)]
    expect(spans(findChain(stages, MODEL))).toEqual(['0-4 of 0-5', '4-8 of 4-8'])
    expect(spans(findChain([...stages, hosted(0, 8)], MODEL))).toEqual(['0-8 of 0-8'])
  })

  test('has one profile', () => {
    const stages = [hosted(0, 4), hosted(4, 8, OTHER), hosted(0, 2, OTHER), hosted(2, 4, OTHER)]
    const chain = findChain(stages, MODEL)
    expect(spans(chain)).toEqual(['0-2 of 0-2', '2-4 of 2-4', '4-8 of 4-8'])
    expect(new Set(chain.map(({ stage }) => stage.profile.kvTypeK))).toEqual(new Set(['q8_0']))
  })

  test('has no stage that is still loading', () => {
    const stages = [hosted(0, 8, { peer: 'loading', state: 'loading' }), hosted(0, 3), hosted(3, 8)]
    expect(spans(findChain(stages, MODEL))).toEqual(['0-3 of 0-3', '3-8 of 3-8'])
    expect(missing([hosted(0, 3), hosted(3, 8, { state: 'loading' })]).block).toBe(3)
  })

  test('is not hidden by one who lies about the model', () => {
    const liars = [
      hosted(0, 8, { peer: 'long', blockCount: 80 }),
      hosted(2, 8, { peer: 'no head', head: false })
    ]
    expect(spans(findChain([...liars, hosted(0, 3), hosted(3, 8)], MODEL))).toEqual([
      '0-3 of 0-3',
      '3-8 of 3-8'
    ])
  })
})

describe('the cheapest chain', () => {
  test('goes by near stages, even if there are more of them', () => {
    const far = hosted(0, 8, { coordinate: at(200) })
    const near = [hosted(0, 4, { coordinate: at(10) }), hosted(4, 8, { coordinate: at(20) })]
    expect(spans(findChain([far, ...near], MODEL, CHAT))).toEqual(['0-4 of 0-4', '4-8 of 4-8'])
  })

  test('goes by fast stages, and leaves them as much as they can do', () => {
    const slow = [hosted(0, 6, { peer: 'slow', ...speed(600) }), hosted(6, 8, { peer: 'tail', ...speed(10) })]
    const fast = hosted(2, 8, { peer: 'fast', ...speed(6) })
    expect(spans(findChain([...slow, fast], MODEL, CHAT))).toEqual(['0-2 of slow', '2-8 of fast'])
  })

  test('does not believe that a stage takes no time at all', () => {
    const stages = [hosted(0, 8, { ...speed(0), peer: 'liar', coordinate: at(5) }), hosted(0, 8, speed(1))]
    expect(spans(findChain(stages, MODEL, CHAT))).toEqual(['0-8 of 0-8'])
  })

  test('goes around a stage that is busy', () => {
    const stages = [hosted(0, 8, { peer: 'busy', ...speed(1) }), hosted(0, 8, { peer: 'idle', ...speed(2) })]
    const busynessOf = ({ peer }: HostedStage) => ({ waitMs: peer === 'busy' ? 5 : 0 })
    expect(spans(findChain(stages, MODEL, CHAT))).toEqual(['0-8 of busy'])
    expect(spans(findChain(stages, MODEL, { ...CHAT, busynessOf }))).toEqual(['0-8 of idle'])
    const stepOf = ({ peer }: HostedStage) => ({ waitMs: 0, stepMs: peer === 'busy' ? 9 : 0 })
    expect(spans(findChain(stages, MODEL, { ...CHAT, busynessOf: stepOf }))).toEqual(['0-8 of idle'])
  })

  test('depends on how long prompt and answer are', () => {
    const prefill = (ms: number) => ({ decodeMicroseconds: 10_000, prefillMicroseconds: ms * 1000 })
    // Two halves work on a long prompt at once, but each token of the answer goes a longer way.
    const whole = hosted(0, 8, { speed: prefill(2) })
    const halves = [
      hosted(0, 4, { speed: prefill(1) }),
      hosted(4, 8, { speed: prefill(1), coordinate: at(10) })
    ]
    const best = (promptTokens: number, answerTokens: number) =>
      findChain([whole, ...halves], MODEL, onALine({ promptTokens, answerTokens })).length
    expect(best(100, 100)).toBe(1)
    expect(best(8_000, 100)).toBe(2)
    expect(best(8_000, 2_000)).toBe(1)
  })

  test('goes from one span of a node to its other one without a link', () => {
    const stages = [hosted(0, 4, { peer: 'both' }), hosted(4, 8, { peer: 'both' }), hosted(4, 8)]
    expect(spans(findChain(stages, MODEL))).toEqual(['0-4 of both', '4-8 of both'])
  })

  test('is nearly found among very many', () => {
    const random = randomOf('very many')
    const layers = [0, 2, 4, 6].map((start) =>
      Array.from({ length: 250 }, (_, index) => {
        const coordinate = { ...at(random() * 100), height: random() * 10 }
        return hosted(start, start + 2, {
          peer: `${start}/${index}`,
          coordinate,
          ...speed(1 + random() * 20)
        })
      })
    )
    // Without a long prompt costs are sums: the best of the layer before is enough.
    let least = new Map<ChainHop | undefined, number>([[undefined, 0]])
    for (const layer of layers) {
      const next = new Map<ChainHop | undefined, number>()
      for (const hop of layer) {
        const { start, end } = hop.stage
        const one = { ...hop, start, end }
        const alone = costOf([one], CHAT) - 100 * distanceMs(at(0), hop.coordinate ?? at(0))
        const ways = [...least].map(([before, cost]) => {
          const from = before?.coordinate ?? at(0)
          return cost + 50 * distanceMs(from, hop.coordinate ?? at(0))
        })
        next.set(one, alone + Math.min(...ways))
      }
      least = next
    }
    const home = [...least].map(([hop, cost]) => cost + 50 * distanceMs(at(0), hop?.coordinate ?? at(0)))
    const found = costOf(findChain(layers.flat(), MODEL, CHAT), CHAT)
    expect(found).toBeLessThan(Math.min(...home) * 1.02)
    expect(found).toBeGreaterThan(Math.min(...home) * 0.999)
  })
})

describe('no chain', () => {
  test('names the block that nobody hosts, and how to host it', () => {
    const error = missing([hosted(0, 3), hosted(5, 8)])
    expect(error.block).toBe(3)
    expect(error.message).toContain('block 3 of 8')
    expect(error.message).toContain('shoal up --model NAME')
    expect(missing([hosted(3, 8)]).block).toBe(0)
    expect(missing([hosted(0, 3), hosted(3, 6)]).message).toContain('block 6 of 8')
  })

  test('says when nobody has any of the model', () => {
    const other = hosted(0, 8, { model: 'b'.repeat(64) })
    for (const stages of [[], [other]]) expect(missing(stages).message).toContain('any of its blocks')
  })

  test('says when the block is there, with other settings', () => {
    const error = missing([hosted(0, 4), hosted(4, 8, OTHER)])
    expect(error.block).toBe(4)
    expect(error.message).toMatch(/block 4 of 8 is hosted with other settings/)
  })
})

describe('any set of spans', () => {
  const BLOCKS = 6
  const stage = fc.record({
    start: fc.nat(BLOCKS - 1),
    length: fc.integer({ min: 1, max: BLOCKS }),
    isOther: fc.boolean(),
    decodeMicroseconds: fc.integer({ min: 1_000, max: 100_000 }),
    prefillMicroseconds: fc.integer({ min: 100, max: 10_000 })
  })
  /** Stages with speeds, and with links that are unlike any space. */
  const swarm = fc.record({
    stages: fc.array(stage, { maxLength: 9 }),
    rtts: fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 45, maxLength: 45 }),
    promptTokens: fc.constantFrom(0, 100, 1_000, 8_000),
    answerTokens: fc.constantFrom(1, 20, 500)
  })
  const range = fc
    .tuple(fc.nat(BLOCKS - 1), fc.integer({ min: 1, max: BLOCKS }))
    .map(([start, length]) => ({ start, end: Math.min(start + length, BLOCKS) }))

  type Swarm = typeof swarm extends fc.Arbitrary<infer T> ? T : never

  function stagesOf({ stages }: Swarm, isFast = true): HostedStage[] {
    return stages.map(({ start, length, isOther, ...speed }, index) =>
      hosted(start, Math.min(start + length, BLOCKS), {
        ...{ peer: String(index), blockCount: BLOCKS, profile: { ...PROFILE, longContext: isOther } },
        ...(isFast ? { speed } : {})
      })
    )
  }

  function costsOf({ rtts, promptTokens, answerTokens }: Swarm): Costs {
    const rtt = (a: number, b: number): number =>
      a === b ? 0 : (rtts[((a * (a - 1)) / 2 + b) % 45] as number)
    const [consumer, rttOf] = [{ peer: '9' }, (a: number, b: number) => rtt(Math.max(a, b), Math.min(a, b))]
    return {
      ...{ promptTokens, answerTokens, consumer },
      rttFrom: (from) => (to) => rttOf(Number(from.peer), Number(to.peer))
    }
  }

  /** All ways through a range. */
  function* everyWay(stages: readonly HostedStage[], { start, end }: Range, low = -1): Generator<ChainHop[]> {
    for (const hop of stages) {
      const { stage } = hop
      const follows = low < 0 ? stage.start === start : stage.start > low && stage.start <= start
      if (!follows || stage.start >= end) continue
      if (stage.head ? stage.end === end : stage.end >= end) yield [{ ...hop, start: stage.start, end }]
      if (stage.head) continue
      for (const rest of everyWay(stages, { start: stage.end, end }, stage.start)) {
        const next = (rest[0] as ChainHop).start
        if (next > stage.start) yield [{ ...hop, start: stage.start, end: next }, ...rest]
      }
    }
  }

  function leastOf(stages: readonly HostedStage[], through: Range, costs: Costs): number {
    const costOfAll = [...everyWay(stages, through)].map((way) => costOf(way, costs))
    return Math.min(Number.POSITIVE_INFINITY, ...costOfAll)
  }

  function isWhole(chain: readonly ChainHop[], { start, end }: Range): void {
    expect([...chain.map((hop) => hop.start), end]).toEqual([start, ...chain.map((hop) => hop.end)])
    for (const hop of chain) {
      expect(hop.start).toBe(hop.stage.start)
      expect(hop.end).toBeGreaterThan(hop.start)
      expect(hop.end).toBeLessThanOrEqual(hop.stage.end)
      if (hop.stage.head) expect(hop.end).toBe(hop.stage.end)
    }
  }

  test('has the cheapest chain that trying everything finds, and whole', () => {
    fc.assert(
      fc.property(swarm, fc.boolean(), (given, isKnown) => {
        const stages = stagesOf(given, isKnown)
        const costs = isKnown ? costsOf(given) : UNKNOWN_LINKS
        const whole = { start: 0, end: BLOCKS }
        const groups = [true, false].map((long) =>
          stages.filter((hop) => hop.stage.profile.longContext === long)
        )
        const least = Math.min(...groups.map((group) => leastOf(group, whole, costs)))
        if (least === Number.POSITIVE_INFINITY) {
          expect(missing(stages).block).toBeLessThan(BLOCKS)
          return
        }
        const chain = findChain(stages, MODEL, costs)
        isWhole(chain, whole)
        expect(new Set(chain.map(({ stage }) => stage.profile.longContext)).size).toBe(1)
        expect(costOf(chain, costs)).toBeCloseTo(least, 6)
      }),
      { seed: SEED, numRuns: 2_000 }
    )
  })

  test('covers a range as cheaply as trying everything does, and whole', () => {
    fc.assert(
      fc.property(swarm, range, fc.boolean(), (given, through, isKnown) => {
        const stages = stagesOf(given, isKnown)
        const costs = isKnown ? costsOf(given) : UNKNOWN_LINKS
        const least = leastOf(stages, through, costs)
        const cover = findCover(stages, through, costs)
        expect(cover === undefined).toBe(least === Number.POSITIVE_INFINITY)
        if (cover === undefined) return
        isWhole(cover, through)
        expect(costOf(cover, costs)).toBeCloseTo(least, 6)
      }),
      { seed: SEED, numRuns: 2_000 }
    )
  })
})
