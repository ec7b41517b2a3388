import { beforeEach, describe, expect, test } from 'vitest'
import { gossip, type Withdrawal } from '../net/index.ts'
import { sealWithdrawal } from './announcement.ts'
import { type Member, Members, MODEL } from './testing-members.ts'

const TOPIC = `/shoal/model/1/${MODEL}`
let members: Members

beforeEach(() => {
  members = new Members()
})

function sequenceOf(member: Member, peer: string): number {
  return member.swarm.directory.announcementOf(peer)?.sequence ?? -1
}

/** Publishes a withdrawal that says what it should not. */
async function accuse(liar: Member, victim: Member, rest: Partial<Withdrawal> = {}): Promise<void> {
  const sequence = Math.max(...members.all.map((member) => sequenceOf(member, victim.peer)))
  const at = Math.floor(members.memory.clock.wall())
  const withdrawal = { peer: victim.peer, sequence, observer: liar.peer, at, ...rest }
  const sealed = await sealWithdrawal(withdrawal, (bytes) => liar.node.sign(bytes))
  await liar.node.publish(TOPIC, gossip.encode({ type: 'withdrawal', ...sealed }))
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
  test('of a node that is used is known to all within 10 s', async () => {
    const hosts = await members.host(30)
    const consumer = await members.join()
    consumer.swarm.follow(MODEL)
    await members.advance(60_000)
    const [dead] = hosts as [Member]
    expect(members.whoKnows(dead.peer)).toHaveLength(30)
    members.memory.kill(dead.node)
    void consumer.swarm.report(dead.peer)
    await members.advance(10_000)
    expect(members.whoKnows(dead.peer)).toEqual([])
  })

  test('of a node that nobody uses is known within its time to live', async () => {
    const hosts = await members.host(30)
    await members.advance(200_000)
    const [dead] = hosts as [Member]
    members.memory.kill(dead.node)
    await members.advance(60_000)
    expect(members.whoKnows(dead.peer)).toHaveLength(29)
    await members.advance(60_000)
    expect(members.whoKnows(dead.peer)).toEqual([])
    for (const { peer } of hosts.slice(1)) expect(members.whoKnows(peer)).toHaveLength(28)
  })
})

describe('lies', () => {
  test('evict nobody', async () => {
    const hosts = await members.host(30)
    const [victim, ...liars] = hosts as [Member, ...Member[]]
    for (const liar of liars.slice(0, 12)) {
      await accuse(liar, victim)
      await members.advance(1_000)
      await accuse(liar, victim, { sequence: Math.floor(members.memory.clock.wall()) + 200_000 })
      await members.advance(2_000)
      expect(members.whoKnows(victim.peer)).toHaveLength(29)
    }
    await members.advance(10_000)
    expect(members.whoKnows(victim.peer)).toHaveLength(29)
  })
})
