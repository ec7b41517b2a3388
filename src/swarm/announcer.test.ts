import { beforeEach, describe, expect, test } from 'vitest'
import type { Announced } from './announcement.ts'
import { Announcer } from './announcer.ts'
import { MemorySwarm } from './testing.ts'
import type { ManualClock } from './testing-clock.ts'
import { MODEL, OTHER_MODEL, stageOf } from './testing-members.ts'

let clock: ManualClock
let addresses: string[]
let nodes: number
let announcer: Announcer
/** What was spread: when, and among the followers of which models. */
let said: { readonly at: number; readonly announced: Announced; readonly models: string[] }[]

const hosting = { stages: [stageOf(0, 4)], wants: [] }

beforeEach(() => {
  const memory = new MemorySwarm()
  const node = memory.add('me')
  clock = memory.clock
  said = []
  nodes = 10
  addresses = ['/memory/me']
  const network = { peerId: 'me', sign: (bytes: Uint8Array) => node.sign(bytes), addresses }
  announcer = new Announcer({
    ...{ clock, random: memory.random, network, nodesOf: () => nodes },
    publish: async (announced, models) => void said.push({ at: clock.now(), announced, models: [...models] })
  })
})

function gaps(): number[] {
  return said.slice(1).map(({ at }, index) => at - (said[index]?.at ?? 0))
}

describe('an announcer', () => {
  test('says what is hosted once per period, with some jitter, and how long it holds', async () => {
    announcer.announce(hosting)
    announcer.start()
    await clock.advance(2_400_000)
    expect(said[0]?.at).toBe(0)
    expect(said.length).toBeGreaterThan(17)
    expect(said.length).toBeLessThan(24)
    expect(new Set(gaps()).size).toBe(gaps().length)
    const [
      {
        announced: { announcement }
      }
    ] = said as [(typeof said)[number]]
    expect(announcement.ttlSeconds).toBe(288)
    // One may be lost.
    const pairs = said.slice(2).map(({ at }, index) => at - (said[index]?.at ?? 0))
    expect(Math.max(...pairs)).toBeLessThan(288_000 - 3_000)
  })

  test('says it less often where many do, so that a topic has one per second', async () => {
    nodes = 1_000
    announcer.announce(hosting)
    announcer.start()
    await clock.advance(100_000_000)
    const perSecond = (nodes * (said.length - 1)) / 100_000
    expect(perSecond).toBeGreaterThan(0.9)
    expect(perSecond).toBeLessThan(1.1)
    expect(said[0]?.announced.announcement.ttlSeconds).toBe(2_400)
  })

  test('never says that it holds longer than the protocol allows', async () => {
    nodes = 1_000_000
    announcer.announce(hosting)
    announcer.start()
    await clock.advance(1)
    expect(said[0]?.announced.announcement.ttlSeconds).toBe(3_600)
  })

  test('says demand later, the more nodes there are, and not at once', async () => {
    nodes = 100
    announcer.announce(hosting)
    announcer.start()
    await clock.advance(10_000)
    announcer.announce({ ...hosting, stages: [{ ...stageOf(0, 4), demand: 7 }] })
    await clock.advance(35_000)
    expect(said).toHaveLength(1)
    await clock.advance(15_000)
    expect(said).toHaveLength(2)
    expect(said[1]?.announced.announcement.stages[0]?.demand).toBe(7)
  })

  test('says nothing while there is nothing to say', async () => {
    announcer.start()
    announcer.refute(1)
    await clock.advance(200_000)
    expect(await announcer.fresh()).toBe(undefined)
    await announcer.stop()
    expect(said).toEqual([])
  })

  test('tells who asks what is so now, before it tells everybody', async () => {
    announcer.announce({ stages: [], wants: [], seeds: [MODEL] })
    announcer.start()
    await clock.advance(100)
    announcer.announce(hosting)
    await clock.advance(100)
    expect(said.at(-1)?.announced.announcement.stages).toEqual([])
    expect((await announcer.fresh())?.announcement.stages).toHaveLength(hosting.stages.length)
    await announcer.stop()
  })

  test('says changes at once, those of a second together, and the same again only once', async () => {
    announcer.start()
    announcer.announce(hosting)
    await clock.advance(100)
    for (let end = 5; end <= 8; end++) {
      announcer.announce({ ...hosting, stages: [stageOf(0, end)] })
      await clock.advance(100)
    }
    await clock.advance(10_000)
    announcer.announce({ ...hosting, stages: [stageOf(0, 8)] })
    await clock.advance(10_000)
    expect(said.map(({ at, announced }) => [at, announced.announcement.stages[0]?.end])).toEqual([
      [0, 4],
      [1_000, 8]
    ])
    addresses[0] = '/memory/elsewhere'
    announcer.announce({ ...hosting, stages: [stageOf(0, 8)] })
    await clock.advance(1)
    expect(said.at(-1)?.announced.announcement.addresses).toEqual(['/memory/elsewhere'])
  })

  test('tells those of a model that it is gone, and everybody when it leaves', async () => {
    announcer.start()
    announcer.announce({ stages: [stageOf(0, 4)], wants: [OTHER_MODEL] })
    await clock.advance(2_000)
    announcer.announce({ stages: [], wants: [OTHER_MODEL] })
    await clock.advance(2_000)
    await announcer.stop()
    const told = said.map(({ announced: { hosts, waits }, models }) => [
      hosts.size,
      waits.size,
      models.toSorted()
    ])
    expect(told).toEqual([
      ...[
        [1, 1, [MODEL, OTHER_MODEL]],
        [0, 1, [MODEL, OTHER_MODEL]],
        [0, 0, [OTHER_MODEL]]
      ]
    ])
    await clock.advance(200_000)
    expect(said).toHaveLength(3)
  })
})

describe('an accused', () => {
  test('answers with a later announcement, whatever was withdrawn', async () => {
    announcer.announce(hosting)
    announcer.start()
    await clock.advance(10_000)
    const withdrawn = (said[0]?.announced.announcement.sequence ?? 0) + 100_000
    announcer.refute(withdrawn)
    await clock.advance(1)
    expect(said[1]?.announced.announcement.sequence).toBe(withdrawn + 1)
    announcer.refute(withdrawn)
    await clock.advance(10_000)
    expect(said).toHaveLength(2)
  })

  test('does not get ahead of what others believe, but for what it said itself', async () => {
    announcer.announce(hosting)
    announcer.start()
    await clock.advance(10_000)
    announcer.refute(clock.wall() + 541_000)
    announcer.outdo(clock.wall() + 541_000)
    await clock.advance(10_000)
    expect(said).toHaveLength(1)
    announcer.refute(clock.wall() + 539_000)
    await clock.advance(10_000)
    announcer.refute(said[1]?.announced.announcement.sequence ?? 0)
    await clock.advance(10_000)
    expect(said).toHaveLength(3)
  })

  test('answers also when the newest was not spread', async () => {
    announcer.announce(hosting)
    announcer.start()
    await clock.advance(10_000)
    const fresh = await announcer.fresh()
    expect(said).toHaveLength(1)
    announcer.refute(said[0]?.announced.announcement.sequence ?? 0)
    await clock.advance(1)
    expect(said).toHaveLength(2)
    expect(said[1]?.announced.announcement.sequence).toBeGreaterThan(fresh?.announcement.sequence ?? Infinity)
  })

  test('answers within 2.5 s, and not more often than others listen to', async () => {
    announcer.announce(hosting)
    announcer.start()
    for (let second = 0; second < 100; second++) {
      await clock.advance(1_000)
      announcer.refute(said.at(-1)?.announced.announcement.sequence ?? 0)
    }
    expect(Math.max(...gaps())).toBeLessThanOrEqual(2_500)
    expect(Math.min(...gaps())).toBeGreaterThanOrEqual(1_000)
    expect(said.length).toBeLessThanOrEqual(8 + 100 / 2.5)
  })

  test('takes up from a life in which its clock was ahead', async () => {
    announcer.announce(hosting)
    announcer.start()
    await clock.advance(5_000)
    const sequence = clock.wall() + 300_000
    announcer.outdo(sequence)
    announcer.outdo(sequence)
    await clock.advance(5_000)
    expect(said.map(({ announced }) => announced.announcement.sequence).slice(1)).toEqual([sequence + 1])
  })
})
