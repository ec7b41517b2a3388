import { beforeEach, describe, expect, test } from 'vitest'
import type { ModelSummary, Verdict } from '../net/index.ts'
import { factsOf, type ModelFacts, Summaries } from './summaries.ts'
import { ManualClock, randomOf } from './testing-clock.ts'
import { Members, MODEL, OTHER_MODEL, stageOf } from './testing-members.ts'

const SEALED = { payload: new Uint8Array(), signature: new Uint8Array(64) }
const FACTS: ModelFacts = {
  ...{ model: MODEL, name: 'm', architecture: 'llama', blockCount: 3, nodes: 5, demand: 10 },
  holders: Uint8Array.of(3, 2, 0)
}

let clock: ManualClock
let facts: ModelFacts | undefined
let published: number[]
let summaries: Summaries

beforeEach(() => {
  clock = new ManualClock()
  facts = FACTS
  published = []
  summaries = new Summaries({
    ...{ clock, random: randomOf(1), factsOf: () => facts },
    publish: () => void published.push(clock.now())
  })
})

function hear(observer: string, rest: Partial<ModelSummary> = {}): Verdict {
  return summaries.hear({ ...FACTS, observer, at: clock.wall(), ...rest }, SEALED)
}

describe('of a model that is followed', () => {
  test('something is said once a minute, in the second half of it', async () => {
    summaries.follow(MODEL)
    await clock.advance(660_000)
    expect(published).toHaveLength(10)
    for (const [index, at] of published.slice(1).entries()) {
      expect(at - (published[index] ?? 0)).toBeGreaterThanOrEqual(30_000)
      expect(at - (published[index] ?? 0)).toBeLessThanOrEqual(90_000)
    }
    summaries.unfollow(MODEL)
    await clock.advance(600_000)
    expect(published).toHaveLength(10)
  })

  test('nothing is said that somebody else just has', async () => {
    summaries.follow(MODEL)
    for (let times = 0; times < 30; times++) {
      hear('other', { nodes: 6 })
      await clock.advance(25_000)
    }
    expect(published).toEqual([])
  })

  test('what somebody says wrong keeps nobody from saying it right', async () => {
    const wrong: Partial<ModelSummary>[] = [
      ...[
        { nodes: 50 },
        { nodes: 1 },
        { holders: Uint8Array.of(0, 2, 0) },
        { holders: Uint8Array.of(3, 2, 1) }
      ],
      ...[{ holders: Uint8Array.of(3, 200, 0) }, { blockCount: 2, holders: Uint8Array.of(3, 2) }]
    ]
    summaries.follow(MODEL)
    for (const lie of wrong) {
      published = []
      for (let times = 0; times < 6; times++) {
        hear('liar', lie)
        await clock.advance(25_000)
      }
      expect(published.length).toBeGreaterThanOrEqual(2)
    }
  })

  test('nothing is said of what nobody hosts, and of it what others say is known', async () => {
    facts = undefined
    summaries.follow(MODEL)
    hear('other', { nodes: 7 })
    await clock.advance(200_000)
    expect(published).toEqual([])
    expect(summaries.of(MODEL)?.nodes).toBe(7)
  })

  test('claims beyond what announcements show are not passed on', () => {
    summaries.follow(MODEL)
    expect(hear('liar', { nodes: 8 })).toBe('ignore')
    expect(hear('liar', { holders: Uint8Array.of(3, 2, 2) })).toBe('ignore')
    expect(hear('other', { nodes: 7, holders: Uint8Array.of(4, 3, 0) })).toBe('accept')
    expect(summaries.of(MODEL)).toEqual(FACTS)
  })
})

describe('of another model', () => {
  test('the median of the newest of five observers is believed, for five minutes', async () => {
    for (const [index, nodes] of [100, 4, 5, 255, 6, 3].entries()) {
      expect(hear(`observer-${index}`, { nodes, holders: Uint8Array.of(nodes, 1, 0) })).toBe('accept')
      await clock.advance(1_000)
    }
    expect(summaries.of(MODEL)).toEqual({ ...FACTS, nodes: 5, holders: Uint8Array.of(5, 1, 0) })
    expect(summaries.models).toEqual([MODEL])
    await clock.advance(300_000)
    expect(summaries.models).toEqual([])
    expect(summaries.of(MODEL)).toBe(FACTS) // what the directory has
    facts = undefined
    expect(summaries.of(MODEL)).toBe(undefined)
  })

  test('later words of an observer replace its earlier ones, not the other way round', async () => {
    const at = clock.wall()
    await clock.advance(1_000)
    hear('observer', { nodes: 9 })
    expect(hear('observer', { nodes: 1, at })).toBe('ignore')
    expect(summaries.of(MODEL)?.nodes).toBe(9)
    await clock.advance(1_000)
    hear('observer', { nodes: 2 })
    expect(summaries.of(MODEL)?.nodes).toBe(2)
  })

  test('what is old or from the future by more than clocks are off is not heard', () => {
    expect(hear('observer', { at: clock.wall() - 601_000 })).toBe('ignore')
    expect(hear('observer', { at: clock.wall() + 601_000 })).toBe('ignore')
  })

  test('an observer is not heard without end', () => {
    const verdicts = Array.from({ length: 100 }, (_, index) => hear('chatterbox', { model: modelId(index) }))
    expect(verdicts.filter((verdict) => verdict === 'accept')).toHaveLength(32)
  })

  test('made-up models push out each other, not those that several speak of', () => {
    hear('a', { model: OTHER_MODEL })
    hear('b', { model: OTHER_MODEL })
    for (let index = 0; index < 5_000; index++) hear(`liar-${index >> 5}`, { model: modelId(index) })
    expect(summaries.models).toHaveLength(4_096)
    expect(summaries.of(OTHER_MODEL)).toBeDefined()
  })
})

function modelId(index: number): string {
  return index.toString(16).padStart(64, '0')
}

test('facts count who is ready, and sessions once', () => {
  const at = (peer: string, start: number, end: number, demand: number, state?: 'loading') => ({
    ...{ peer, addresses: [], stage: stageOf(start, end, MODEL, { demand, state }) }
  })
  const stages = [at('a', 0, 5, 2), at('b', 3, 8, 3), at('c', 0, 4, 4), at('d', 5, 8, 0, 'loading')]
  expect(factsOf(stages, 2)).toEqual({
    ...{ model: MODEL, name: 'm', architecture: 'llama', blockCount: 8, nodes: 4, demand: 8 },
    holders: Uint8Array.of(2, 2, 2, 3, 2, 1, 1, 1)
  })
  expect(factsOf([], 2)).toBe(undefined)
  expect(factsOf([], 0, FACTS)).toBe(undefined)
  expect(factsOf([], 2, FACTS)).toEqual({ ...FACTS, holders: new Uint8Array(3), nodes: 0, demand: 2 })
})

test.each([3, 30, 80])('%i nodes say of a model what one would', async (count) => {
  const members = new Members()
  await members.host(count)
  const stranger = await members.join()
  await members.advance(120_000)
  const before = members.memory.published.get('/shoal/models/1') ?? 0
  await members.advance(600_000)
  const perMinute = ((members.memory.published.get('/shoal/models/1') ?? 0) - before) / 10
  expect(perMinute).toBeGreaterThanOrEqual(0.8)
  expect(perMinute).toBeLessThanOrEqual(2.5)
  expect(stranger.swarm.summaries.of(MODEL)).toMatchObject({ nodes: count, blockCount: 8 })
})
