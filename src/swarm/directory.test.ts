import { beforeEach, describe, expect, test } from 'vitest'
import type { Announcement } from '../net/index.ts'
import { type Announced, createOpener } from './announcement.ts'
import { CLOCK_GRACE_MS, Directory, MAX_NODES, MAX_PER_SUBNET } from './directory.ts'
import { encodeSeeds, SEEDS } from './seeds.ts'
import { subnetsOf } from './subnets.ts'
import { verifyMemory } from './testing.ts'
import { ManualClock, randomOf } from './testing-clock.ts'
import { announced, announcementOf, MODEL, OTHER_MODEL, stageOf } from './testing-members.ts'

let clock: ManualClock
let directory: Directory
let changes: string[]

beforeEach(() => {
  clock = new ManualClock()
  directory = new Directory({ clock, random: randomOf(1) })
  changes = []
  directory.onChange((peer, change) => changes.push(`${peer} ${change}`))
})

/** Made now. */
function now(peer: string, rest: Partial<Announcement> = {}): Promise<Announced> {
  return announced(peer, { sequence: clock.wall(), ...rest })
}

/** Thousands of these are made without a signature. */
function unsigned(peer: string, address: string, bytes = 100): Announced {
  return {
    announcement: announcementOf(peer, { addresses: [address] }),
    sealed: { payload: new Uint8Array(bytes), signature: new Uint8Array(64) },
    ...{
      stages: [],
      hosts: new Set([MODEL]),
      waits: new Set(),
      offer: new Map(),
      seeds: new Set(),
      content: peer,
      subnets: subnetsOf([address])
    }
  }
}

describe('a directory', () => {
  test('has one entry per node: its newest announcement', async () => {
    expect(directory.apply(await now('a', { coordinate: undefined }))).toBe('new')
    expect(directory.apply(await now('a'))).toBe('stale')
    await clock.advance(1)
    const coordinate = { vector: [1, 2, 3, 4, 5, 6, 7, 8], height: 1, adjustment: 0, error: 1 }
    expect(directory.apply(await now('a', { coordinate }))).toBe('renewed')
    expect(directory.stagesOf(MODEL)[0]?.coordinate).toEqual(coordinate)
    await clock.advance(1)
    expect(directory.apply(await now('a', { stages: [stageOf(0, 4)] }))).toBe('changed')
    expect(directory.stagesOf(MODEL).map(({ stage }) => stage.end)).toEqual([4])
    expect(directory.apply(await announced('a', { stages: [stageOf(0, 2)] }))).toBe('stale')
    expect(directory.size).toBe(1)
    expect(changes).toEqual(['a new', 'a changed'])
  })

  test('knows nodes by model, those that load or wait, too', async () => {
    directory.apply(await now('a', { stages: [stageOf(0, 4), stageOf(4, 8), stageOf(0, 8, OTHER_MODEL)] }))
    directory.apply(
      await now('b', { stages: [stageOf(0, 8, MODEL, { state: 'loading' })], wants: [OTHER_MODEL] })
    )
    expect(directory.stagesOf(MODEL).map(({ peer, stage }) => [peer, stage.state])).toEqual([
      ...[
        ['a', undefined],
        ['a', undefined],
        ['b', 'loading']
      ]
    ])
    expect([directory.hostsOf(MODEL), directory.hostsOf(OTHER_MODEL)]).toEqual([2, 1])
    expect([directory.waitingFor(MODEL), directory.waitingFor(OTHER_MODEL)]).toEqual([0, 1])
    await clock.advance(1)
    directory.apply(await now('a', { stages: [stageOf(0, 8, OTHER_MODEL)] }))
    expect([directory.hostsOf(MODEL), directory.hostsOf(OTHER_MODEL)]).toEqual([1, 1])
    expect(directory.nodes.map(({ peer }) => peer)).toEqual(['a', 'b'])
  })

  test('knows who seeds a model, whatever it hosts', async () => {
    const extensions = { [SEEDS]: encodeSeeds([MODEL, OTHER_MODEL]) }
    directory.apply(await now('a', { stages: [], extensions }))
    directory.apply(await now('b', { extensions: { [SEEDS]: new Uint8Array(33) } }))
    expect(directory.seedersOf(OTHER_MODEL).map(({ peer }) => peer)).toEqual(['a'])
    expect(directory.nodesOf(MODEL).map(({ peer }) => peer)).toEqual(['b', 'a'])
    await clock.advance(1)
    directory.apply(await now('a', { stages: [], extensions: { [SEEDS]: encodeSeeds([MODEL]) } }))
    expect(directory.seedersOf(OTHER_MODEL)).toEqual([])
  })

  test('forgets whom it hears no more from, and not whom it does', async () => {
    directory.apply(await now('a'))
    directory.apply(await now('b', { ttlSeconds: 60 }))
    await clock.advance(61_000)
    expect(directory.nodes.map(({ peer }) => peer)).toEqual(['a'])
    directory.apply(await now('a'))
    await clock.advance(118_000)
    expect(directory.size).toBe(1)
    await clock.advance(2_000)
    expect(directory.size).toBe(0)
    expect(changes).toEqual(['a new', 'b new', 'b gone', 'a gone'])
    directory.apply(await now('c'))
    await clock.advance(1)
    directory.apply(await now('c', { ttlSeconds: 10 }))
    await clock.advance(11_000)
    expect(directory.size).toBe(0)
  })

  test('forgets who says goodbye', async () => {
    const before = await now('a')
    directory.apply(before)
    await clock.advance(1)
    expect(directory.apply(await now('a', { stages: [] }))).toBe('changed')
    expect([directory.size, directory.hostsOf(MODEL)]).toEqual([0, 0])
    expect(directory.apply(before)).toBe('stale')
    expect(changes).toEqual(['a new', 'a gone'])
  })
})

describe('the dead', () => {
  test('come back with a later announcement only', async () => {
    const last = await now('a')
    directory.apply(last)
    directory.forget('a', last.announcement.sequence)
    expect(directory.size).toBe(0)
    await clock.advance(1)
    expect(directory.apply(last, 1)).toBe('stale')
    expect(directory.apply(await now('a'))).toBe('new')
  })

  test('are not those who have said something since', async () => {
    const last = await now('a')
    await clock.advance(1)
    directory.apply(await now('a'))
    directory.forget('a', last.announcement.sequence)
    expect(directory.size).toBe(1)
  })

  test('are not brought back by who says their last words again, until nobody would take them', async () => {
    const last = await now('a')
    directory.apply(last)
    await clock.advance(120_000)
    expect(directory.size).toBe(0)
    for (let waited = 0; waited < 2 * CLOCK_GRACE_MS; waited += 60_000) {
      await clock.advance(60_000)
      expect(directory.apply(last)).toBe('stale')
    }
  })
})

describe('age', () => {
  test('counts from when an announcement was made, as far as is known', async () => {
    const one = await now('a')
    expect(directory.apply(await now('b'), 120)).toBe('stale')
    expect(directory.apply(one, 100)).toBe('new')
    await clock.advance(10_000)
    const [answer] = directory.answer([], () => false)
    expect(answer?.ageSeconds).toBe(110)
    await clock.advance(10_000)
    expect(directory.size).toBe(0)
  })

  test('by the author’s clock is believed but for what clocks are off', async () => {
    const made = (ms: number): Promise<Announced> => announced('a', { sequence: clock.wall() + ms })
    expect(directory.apply(await made(-120_000 - CLOCK_GRACE_MS))).toBe('stale')
    expect(directory.apply(await made(CLOCK_GRACE_MS))).toBe('stale')
    expect(directory.apply(await made(-120_000 - CLOCK_GRACE_MS + 1))).toBe('new')
    expect(directory.apply(await made(CLOCK_GRACE_MS - 1))).toBe('renewed')
  })
})

describe('an answer', () => {
  test('has all that is known of the models, as their authors signed it', async () => {
    directory.apply(await now('a'))
    directory.apply(await now('b', { stages: [], wants: [MODEL] }))
    directory.apply(await now('c', { stages: [stageOf(0, 8, OTHER_MODEL)] }))
    directory.apply(await now('d'))
    const opener = createOpener(verifyMemory)
    const peers = (models: string[]): string[] =>
      directory
        .answer(models, (peer) => peer === 'd')
        .map(({ sealed }) => {
          const notice = opener.open({ type: 'announcement', ...sealed })
          return 'announced' in notice ? notice.announced.announcement.peer : ''
        })
        .toSorted()
    expect(peers([])).toEqual(['a', 'b', 'c'])
    expect(peers([MODEL])).toEqual(['a', 'b'])
    expect(peers([OTHER_MODEL, MODEL])).toEqual(['a', 'b', 'c'])
    expect(peers(['c'.repeat(64)])).toEqual([])
  })

  test('fits into a message', () => {
    for (let index = 0; index < 1_000; index++) directory.apply(unsigned(`${index}`, '/ip4/10.0.0.1', 16_000))
    const answer = directory.answer([], () => false)
    const bytes = answer.reduce((sum, { sealed }) => sum + sealed.payload.byteLength, 0)
    expect(bytes).toBeGreaterThan(2.9 * 1024 * 1024)
    expect(bytes).toBeLessThan(3 * 1024 * 1024)
  })
})

describe('bounds', () => {
  test('many identities of one subnet don’t fill it', () => {
    const apply = (peer: string, address: string): string => directory.apply(unsigned(peer, address))
    for (let index = 0; index < MAX_PER_SUBNET; index++)
      expect(apply(`a${index}`, `/ip4/9.9.9.${index}`)).toBe('new')
    expect(apply('b', '/ip4/9.9.9.200')).toBe('limited')
    expect(apply('b', '/ip4/9.9.8.200')).toBe('new')
    for (let index = 0; index < 200; index++) expect(apply(`c${index}`, '/ip4/192.168.0.1')).toBe('new')
    for (let index = 0; index < MAX_PER_SUBNET; index++) apply(`d${index}`, `/ip6/2a00:1:1:${index}::1`)
    expect(apply('e', '/ip6/2a00:1:1::1')).toBe('limited')
    directory.forget('a0', Number.MAX_SAFE_INTEGER)
    expect(apply('f', '/ip4/9.9.9.200')).toBe('new')
  })

  test('who is in it can’t move where there is no room', () => {
    for (let index = 0; index < MAX_PER_SUBNET; index++)
      directory.apply(unsigned(`a${index}`, '/ip4/9.9.9.1'))
    const b = unsigned('b', '/ip4/10.0.0.1')
    directory.apply(b)
    const moved = unsigned('b', '/ip4/9.9.9.1')
    moved.announcement.sequence += 1
    expect(directory.apply({ ...moved, content: 'moved' })).toBe('limited')
    expect(directory.get('b')).toBe(b)
  })

  test('when it is full, the newest of the fullest subnet goes', () => {
    const other = (index: number): string =>
      `/ip4/${20 + (index >> 14)}.${(index >> 6) & 255}.7.${index & 63}`
    for (let index = 0; index < MAX_NODES - 100; index++) directory.apply(unsigned(`a${index}`, other(index)))
    for (let index = 0; index < 100; index++) directory.apply(unsigned(`private${index}`, '/ip4/10.0.0.1'))
    expect(directory.size).toBe(MAX_NODES)
    expect(directory.apply(unsigned('private', '/ip4/10.0.0.1'))).toBe('limited')
    expect(directory.apply(unsigned('b', '/ip4/9.9.9.1'))).toBe('new')
    expect(directory.size).toBe(MAX_NODES)
    expect(changes.filter((change) => change.endsWith('gone'))).toEqual(['private99 gone'])
  })

  test('large announcements fill it as well', () => {
    for (let index = 0; index < 1_024; index++) {
      expect(directory.apply(unsigned(`a${index}`, '/ip4/10.0.0.1', 16 * 1024))).toBe('new')
    }
    expect(directory.apply(unsigned('b', '/ip4/10.0.0.1', 16 * 1024))).toBe('limited')
    expect(directory.apply(unsigned('c', '/ip4/9.9.9.1', 16 * 1024))).toBe('new')
    expect(directory.get('a1023')).toBe(undefined)
  })
})
