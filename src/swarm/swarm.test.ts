import { beforeEach, describe, expect, test } from 'vitest'
import { gossip, type Withdrawal } from '../net/index.ts'
import { createOpener, sealWithdrawal } from './announcement.ts'
import { type MemoryNode, verifyMemory } from './testing.ts'
import { randomOf } from './testing-clock.ts'
import { type Member, Members, MODEL, OTHER_MODEL, stageOf } from './testing-members.ts'

const TOPIC = `/shoal/model/1/${MODEL}`
/** How long before a death, and of what, a node spoke. */
const LAST_WORDS = [30, 60, 90, 120, 150, 200].flatMap((ms) =>
  (['process', 'machine'] as const).map((what) => [ms, what] as const)
)
let members: Members

beforeEach(() => {
  members = new Members()
})

function sequenceOf(member: Member, peer: string): number {
  return member.swarm.directory.announcementOf(peer)?.sequence ?? -1
}

/** What anybody knows of it. */
function newest({ peer }: Member): number {
  return Math.max(...members.all.map((member) => sequenceOf(member, peer)))
}

/** Publishes a withdrawal that says what it should not. */
async function accuse(liar: MemoryNode, victim: Member, rest: Partial<Withdrawal> = {}): Promise<void> {
  const at = Math.floor(members.memory.clock.wall())
  const withdrawal = { peer: victim.peer, sequence: newest(victim), observer: liar.peerId, at, ...rest }
  const sealed = await sealWithdrawal(withdrawal, (bytes) => liar.sign(bytes))
  await liar.publish(TOPIC, gossip.encode({ type: 'withdrawal', ...sealed }))
}

describe('nodes', () => {
  test('know each other within a second', async () => {
    const hosts = await members.host(30)
    for (const { peer } of hosts) expect(members.whoKnows(peer)).toHaveLength(29)
  })

  test('tell a newcomer all they know at once', async () => {
    const hosts = await members.host(30)
    await members.advance(20_000)
    const newcomer = await members.join()
    newcomer.swarm.follow(MODEL)
    const learnt = newcomer.swarm.learn(hosts[3]?.peer as string, [], [])
    await members.advance(500)
    await learnt
    expect(newcomer.swarm.directory.size).toBe(30)
    expect(newcomer.swarm.stages).toHaveLength(30)
  })

  test('say again that they are there when they were alone, or are not known', async () => {
    const hosts = await members.host(5)
    const [first, second] = hosts as [Member, Member]
    const newcomer = await members.join([stageOf(0, 8)])
    newcomer.node.side = 1 // what it says first reaches nobody
    await members.advance(1_000)
    newcomer.node.side = 0
    expect(members.whoKnows(newcomer.peer)).toEqual([])
    members.memory.connect(newcomer.node, first.node)
    await members.advance(2_000)
    expect(members.whoKnows(newcomer.peer)).toHaveLength(5)

    await members.advance(10_000)
    second.swarm.directory.forget(newcomer.peer, Number.MAX_SAFE_INTEGER)
    void newcomer.swarm.learn(second.peer, [], [])
    await members.advance(2_000)
    expect(members.whoKnows(newcomer.peer)).toHaveLength(5)
  })

  test('who leave are forgotten at once, and not learnt of again', async () => {
    const [leaving, ...others] = await members.host(5)
    if (leaving === undefined || others[0] === undefined) throw new Error('nobody')
    const late = await members.join()
    await leaving.swarm.stop()
    await members.advance(500)
    expect(members.whoKnows(leaving.peer)).toEqual([])
    const learnt = late.swarm.learn(others[0].peer, [], [MODEL])
    await members.advance(500)
    await learnt
    expect(late.swarm.directory.size).toBe(4)
  })
})

describe('a death', () => {
  test.each(['process', 'machine'] as const)(
    'of a %s that is used is known to all within 10 s',
    async (what) => {
      const hosts = await members.host(30)
      const consumer = await members.join()
      consumer.swarm.follow(MODEL)
      await members.advance(150_000)
      const [dead] = hosts as [Member]
      expect(members.whoKnows(dead.peer)).toHaveLength(30)
      members.memory.kill(dead.node, what)
      void consumer.swarm.report(dead.peer)
      await members.advance(10_000)
      expect(members.whoKnows(dead.peer)).toEqual([])
    }
  )

  test('of a node that nobody uses is known within its time to live', async () => {
    const hosts = await members.host(30)
    await members.advance(200_000)
    const [dead] = hosts as [Member]
    members.memory.kill(dead.node)
    await members.advance(140_000)
    expect(members.whoKnows(dead.peer)).toHaveLength(29)
    await members.advance(150_000)
    expect(members.whoKnows(dead.peer)).toEqual([])
    for (const { peer } of hosts.slice(1)) expect(members.whoKnows(peer)).toHaveLength(28)
  })

  test('is known to all also when not all heard its last words yet', async () => {
    for (const [ms, what] of LAST_WORDS) {
      members = new Members(ms)
      const [dead, consumer] = (await members.host(30)) as [Member, Member]
      await members.advance(5_000)
      dead.swarm.announce({ stages: [stageOf(0, 4)], wants: [] })
      await members.advance(ms)
      members.memory.kill(dead.node, what)
      void consumer.swarm.report(dead.peer)
      await members.advance(10_000)
      expect(members.whoKnows(dead.peer), `${what} ${ms} ms`).toEqual([])
    }
  })

  test('is not learnt of again by who comes while it is suspected', async () => {
    const hosts = await members.host(10)
    const [dead, consumer, other] = hosts as [Member, Member, Member]
    members.memory.kill(dead.node)
    void consumer.swarm.report(dead.peer)
    await members.advance(3_500)
    expect(members.whoKnows(dead.peer)).toHaveLength(9)
    const newcomer = await members.join([stageOf(0, 8)])
    void newcomer.swarm.learn(other.peer, [], [])
    await members.advance(5_000)
    expect(newcomer.swarm.directory.size).toBe(9)
    expect(members.whoKnows(dead.peer)).toEqual([])
  })

  test('is over when the node is back', async () => {
    const [dead, consumer] = (await members.host(10)) as [Member, Member]
    members.memory.kill(dead.node)
    void consumer.swarm.report(dead.peer)
    await members.advance(10_000)
    expect(members.whoKnows(dead.peer)).toEqual([])
    await members.join([stageOf(0, 8)], {}, dead.peer)
    await members.advance(1_000)
    expect(members.whoKnows(dead.peer)).toHaveLength(9)
  })

  test('of one half for the other ends with the partition', async () => {
    const hosts = await members.host(20)
    const [one] = hosts as [Member]
    const other = hosts.at(-1) as Member
    members.memory.partition(hosts.slice(0, 10).map(({ node }) => node))
    void other.swarm.report(one.peer)
    await members.advance(130_000)
    expect(members.whoKnows(one.peer)).toEqual(hosts.slice(1, 10).map(({ peer }) => peer))
    members.memory.heal()
    await members.advance(60_000)
    for (const { peer } of hosts) expect(members.whoKnows(peer)).toHaveLength(19)
  })
})

describe('what concerns two models', () => {
  test('comes to those who follow one of them', async () => {
    const both = [stageOf(0, 8), stageOf(0, 8, OTHER_MODEL)]
    for (let seed = 1; seed <= 5; seed++) {
      members = new Members(seed)
      for (let index = 0; index < 28; index++) await members.join(both)
      const readers: Member[] = []
      for (let index = 0; index < 2; index++) readers.push(await members.join([stageOf(0, 8, OTHER_MODEL)]))
      await members.advance(3_000)
      const whoKnows = (peer: string): number =>
        readers.filter(({ swarm }) => swarm.directory.get(peer) !== undefined).length
      const [moving, leaving, dying, consumer] = members.all as [Member, Member, Member, Member]
      for (const { peer } of [moving, leaving, dying]) expect(whoKnows(peer)).toBe(2)
      moving.swarm.announce({ stages: [stageOf(0, 8)], wants: [] })
      await leaving.swarm.stop()
      await members.advance(1_000)
      for (const { swarm } of readers)
        expect(swarm.directory.announcementOf(moving.peer)?.stages).toHaveLength(1)
      expect(whoKnows(leaving.peer)).toBe(0)
      members.memory.kill(dying.node)
      void consumer.swarm.report(dying.peer)
      await members.advance(10_000)
      expect(whoKnows(dying.peer)).toBe(0)
    }
  })
})

describe('lies', () => {
  test.each([23, 40, 71])(
    'evict nobody, whoever tells them, and whatever they withdraw (seed %i)',
    async (seed) => {
      members = new Members(seed)
      const [victim] = (await members.host(20)) as [Member]
      const liars = Array.from({ length: 60 }, (_, index) => members.memory.add(`liar-${index}`))
      const random = randomOf(seed * 7_919)
      for (let lie = 0; lie < 120; lie++) {
        const wall = members.memory.clock.wall()
        const sequences = [
          newest(victim),
          newest(victim) + random() * 3_000,
          wall + random() * 300_000,
          2 ** 53 - 1
        ]
        const sequence = Math.floor(sequences[Math.floor(random() * sequences.length)] as number)
        await accuse(liars[Math.floor(random() * liars.length)] as MemoryNode, victim, { sequence })
        await members.advance(random() * (random() < 0.5 ? 300 : 3_000))
        expect(members.whoKnows(victim.peer)).toHaveLength(19)
      }
    }
  )

  test('cost their victim a message, and nobody listens to the third', async () => {
    const [victim, liar] = (await members.host(30)) as [Member, Member]
    const heard = overhear()
    const costs: string[][] = []
    for (let lie = 0; lie < 3; lie++) {
      const before = heard.length
      await accuse(liar.node, victim)
      await members.advance(5_000)
      const about = heard.slice(before).filter((word) => word.endsWith(victim.peer))
      costs.push(about.toSorted())
    }
    // Of those who are asked to look, some pass on what they got before they hear that it is not needed.
    for (const about of costs.slice(0, 2)) {
      expect(about.at(-1)).toBe(`withdrawal of ${victim.peer}`)
      expect(about.length).toBeGreaterThanOrEqual(2)
      expect(about.length).toBeLessThanOrEqual(5)
    }
    expect(costs[2]).toEqual([])
  })

  test('about who can’t hear them are refuted by those who ask it', async () => {
    const [victim, liar] = (await members.host(30)) as [Member, Member]
    const judge = victim.node.judges.get(TOPIC)
    victim.node.judges.set(TOPIC, () => 'accept')
    const before = sequenceOf(liar, victim.peer)
    await accuse(liar.node, victim)
    await members.advance(6_000)
    expect(members.whoKnows(victim.peer)).toHaveLength(29)
    expect(sequenceOf(liar, victim.peer)).toBeGreaterThan(before)
    expect(judge).toBeDefined()
  })

  test('about who can’t answer are not believed by those who are connected to it', async () => {
    const [victim, liar, friend] = (await members.host(30)) as [Member, Member, Member]
    victim.node.judges.set(TOPIC, () => 'accept')
    victim.node.answer = undefined
    members.memory.connect(victim.node, friend.node)
    await members.advance(12_000)
    await accuse(liar.node, victim)
    await members.advance(6_000)
    expect(members.whoKnows(victim.peer)).toEqual([liar.peer, friend.peer])
  })

  test('in another’s name are garbage', async () => {
    const [victim, liar, other] = (await members.host(30)) as [Member, Member, Member]
    for (let lie = 0; lie < 4; lie++) await accuse(liar.node, victim, { observer: other.peer })
    await members.advance(6_000)
    expect(members.whoKnows(victim.peer)).toHaveLength(29)
    const cutters = members.all.filter(({ node }) => node.cuts.has(liar.peer))
    expect(cutters.length).toBeGreaterThan(0)
    const cut = new Set(members.all.flatMap(({ node }) => [...node.cuts.keys()]))
    expect([...cut]).toEqual([liar.peer])
  })
})

/** What is said on the topic, for a node that takes no part. */
function overhear(): string[] {
  const heard: string[] = []
  const opener = createOpener(verifyMemory)
  members.memory.add('eavesdropper').subscribe(TOPIC, (message) => {
    const notice = opener.read(message)
    if ('announced' in notice) heard.push(`announcement of ${notice.announced.announcement.peer}`)
    if ('withdrawal' in notice) heard.push(`withdrawal of ${notice.withdrawal.peer}`)
    return 'accept'
  })
  return heard
}
