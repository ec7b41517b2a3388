import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Profile } from '../net/index.ts'
import type { HostedStage } from './discover.ts'
import { findChain, findCover, NoChainError } from './routing.ts'
import type { ChainHop } from './routing-cost.ts'

const SEED = 20_260_102
const MODEL = 'a'.repeat(64)
const PROFILE: Profile = {
  ...{ kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
}

function hosted(start: number, end: number, blockCount = 8, profile = PROFILE, model = MODEL): HostedStage {
  const stage = {
    ...{ model, name: 'm', architecture: 'llama', start, end, blockCount, width: 4, profile },
    ...{ head: end === blockCount, embedding: start === 0, context: 64, maxRows: 16 }
  }
  return { peer: `${start}-${end}`, addresses: [], stage }
}

function spans(chain: ChainHop[]): string[] {
  return chain.map(({ peer, start, end }) => `${start}-${end} of ${peer}`)
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
    const chain = findChain([hosted(3, 8), hosted(0, 6)], MODEL)
    expect(spans(chain)).toEqual(['0-3 of 0-6', '3-8 of 3-8'])
  })

  test('has the fewest hops', () => {
    const stages = [hosted(0, 2), hosted(2, 4), hosted(4, 8), hosted(0, 5), hosted(5, 8), hosted(3, 6)]
    expect(spans(findChain(stages, MODEL))).toEqual(['0-4 of 0-5', '4-8 of 4-8'])
    expect(spans(findChain([...stages, hosted(0, 8)], MODEL))).toEqual(['0-8 of 0-8'])
  })

  test('has one profile', () => {
    const other = { ...PROFILE, kvTypeK: 'q8_0' }
    const stages = [hosted(0, 4), hosted(4, 8, 8, other), hosted(0, 2, 8, other), hosted(2, 4, 8, other)]
    const chain = findChain(stages, MODEL)
    expect(spans(chain)).toEqual(['0-2 of 0-2', '2-4 of 2-4', '4-8 of 4-8'])
    expect(new Set(chain.map(({ stage }) => stage.profile.kvTypeK))).toEqual(new Set(['q8_0']))
  })

  test('is found among many replicas', () => {
    const stages = Array.from({ length: 8 }, (_, block) =>
      Array.from({ length: 30 }, () => hosted(block, block + 1))
    )
    expect(findChain(stages.flat(), MODEL)).toHaveLength(8)
  })
})

describe('no chain', () => {
  test('names the block that nobody hosts, and how to host it', () => {
    const error = missing([hosted(0, 3), hosted(5, 8)])
    expect(error.block).toBe(3)
    expect(error.message).toContain('block 3 of 8')
    expect(error.message).toContain('--blocks 3-8')
    expect(missing([hosted(3, 8)]).block).toBe(0)
    expect(missing([hosted(0, 3), hosted(3, 6)]).message).toContain('block 6 of 8')
  })

  test('says when nobody has any of the model', () => {
    const other = hosted(0, 8, 8, PROFILE, 'b'.repeat(64))
    for (const stages of [[], [other]]) expect(missing(stages).message).toContain('any of its blocks')
  })

  test('says when the block is there, with other settings', () => {
    const error = missing([hosted(0, 4), hosted(4, 8, 8, { ...PROFILE, kvTypeV: 'q8_0' })])
    expect(error.block).toBe(4)
    expect(error.message).toMatch(/block 4 of 8 is hosted with other settings/)
  })
})

describe('any set of spans', () => {
  const BLOCKS = 6
  const set = fc
    .array(fc.tuple(fc.nat(BLOCKS - 1), fc.integer({ min: 1, max: BLOCKS }), fc.boolean()), { maxLength: 9 })
    .map((spans) =>
      spans.map(([start, length, isOther]) => {
        const profile = isOther ? { ...PROFILE, longContext: true } : PROFILE
        return hosted(start, Math.min(start + length, BLOCKS), BLOCKS, profile)
      })
    )

  /** The least hops up to `end`, after a span that began at `low` and ended at `high`, by trying everything. */
  function fewest(stages: HostedStage[], low: number, high: number, end = BLOCKS): number {
    if (high >= end) return 0
    const next = stages.filter(({ stage }) => stage.start > low && stage.start <= high)
    return (
      1 +
      Math.min(
        Number.POSITIVE_INFINITY,
        ...next.map(({ stage }) => fewest(stages, stage.start, stage.end, end))
      )
    )
  }

  test('has a chain where trying everything finds one, as short, and whole', () => {
    fc.assert(
      fc.property(set, (stages) => {
        const byProfile = [true, false].map((long) =>
          stages.filter(({ stage }) => stage.profile.longContext === long)
        )
        const least = Math.min(...byProfile.map((group) => fewest(group, -1, 0)))
        if (least === Number.POSITIVE_INFINITY) {
          const { block } = missing(stages)
          expect(block).toBeLessThan(BLOCKS)
          return
        }
        const chain = findChain(stages, MODEL)
        const profiles = new Set(chain.map(({ stage }) => stage.profile.longContext))
        expect(profiles.size).toBe(1)
        expect(chain.map(({ start }) => start)).toEqual([0, ...chain.slice(0, -1).map(({ end }) => end)])
        expect(chain.at(-1)?.end).toBe(BLOCKS)
        for (const { start, end, stage } of chain) {
          expect(start).toBe(stage.start)
          expect(end).toBeGreaterThan(start)
          expect(end).toBeLessThanOrEqual(stage.end)
        }
        expect(chain.length).toBe(least)
      }),
      { seed: SEED, numRuns: 1_000 }
    )
  })

  test('covers a range where trying everything finds a cover, as short, and whole', () => {
    const range = fc
      .tuple(fc.nat(BLOCKS - 1), fc.integer({ min: 1, max: BLOCKS }))
      .map(([start, length]) => ({
        ...{ start, end: Math.min(start + length, BLOCKS) }
      }))
    fc.assert(
      fc.property(set, range, (stages, { start, end }) => {
        // A stage with the head gives no hidden states.
        const usable = stages.filter(({ stage }) => !stage.head || stage.end === end)
        const first = usable.filter(({ stage }) => stage.start === start)
        const after = first.map(({ stage }) => fewest(usable, start, stage.end, end))
        const least = 1 + Math.min(Number.POSITIVE_INFINITY, ...after)
        const cover = findCover(stages, { start, end })
        expect(cover?.length ?? Number.POSITIVE_INFINITY).toBe(least)
        if (cover === undefined) return
        expect([...cover.map((hop) => hop.start), end]).toEqual([start, ...cover.map((hop) => hop.end)])
        for (const hop of cover) {
          expect(hop.start).toBe(hop.stage.start)
          expect(hop.end).toBeGreaterThan(hop.start)
          expect(hop.end).toBeLessThanOrEqual(hop.stage.end)
          if (hop.stage.head) expect(hop.end).toBe(hop.stage.end)
        }
      }),
      { seed: SEED, numRuns: 1_000 }
    )
  })
})
