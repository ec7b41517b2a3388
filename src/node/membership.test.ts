// Real nodes on loopback: their keys, handshakes and questions are those of a private swarm.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Clock } from '../common/index.ts'
import {
  type Announcement,
  announcements,
  createHost,
  type Handlers,
  type Host,
  type StageInfo
} from '../net/index.ts'
import { decodeToken, encodeToken, issueCertificate, type Role, signGrant, swarmId } from '../swarm/index.ts'
import { deputise, type InviteInit, invite, isFounder, joinPrivate } from './invitation.ts'
import { Membership } from './membership.ts'
import { type PrivateSwarm, readSwarmFile } from './swarm-file.ts'
import { changeList, joinPublic, leaveSwarm } from './swarm-file-changes.ts'

const LOOPBACK = ['/ip4/127.0.0.1/tcp/0']
const HOUR_MS = 3_600_000
const ALL: readonly Role[] = ['consumer', 'provider', 'seeder']
const STAGE = { model: 'a'.repeat(64) } as StageInfo

const SERVES_NOBODY: Handlers = {
  info: () => ({ version: '', stages: [], addresses: [], peers: [] }),
  control: (stream) => stream.abort(new Error('none here')),
  data: () => undefined
}

/** Its timers run when the test says so. */
class HandClock implements Clock {
  /** Added to the time that there is. */
  later = 0
  readonly waiting = new Map<() => void, number>()

  now(): number {
    return performance.now() + this.later
  }

  wall(): number {
    return Date.now() + this.later
  }

  after(ms: number, run: () => void): () => void {
    this.waiting.set(run, ms)
    return () => this.waiting.delete(run)
  }

  runAll(): void {
    for (const run of this.waiting.keys()) {
      this.waiting.delete(run)
      run()
    }
  }
}

interface TestNode {
  readonly host: Host
  readonly membership: Membership
  readonly clock: HandClock
  readonly cuts: string[]
}

let folder: string
let address: string
const running: { stop(): Promise<void> }[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-membership-'))
})

afterEach(async () => {
  for (const part of running.splice(0).reverse()) await part.stop()
  await rm(folder, { recursive: true, force: true })
})

const at = (name: string): string => join(folder, name)

function inviteAs(name: string, init: Partial<InviteInit> = {}): ReturnType<typeof invite> {
  return invite(at(name), { ...{ roles: ALL, expiresInMs: HOUR_MS, uses: 1, addresses: [address] }, ...init })
}

/** A node with what its folder has joined, as `shoal up` would start it. */
async function up(name: string, init: { swarm?: PrivateSwarm; keyPath?: string } = {}): Promise<TestNode> {
  const swarm = init.swarm ?? ((await readSwarmFile(at(name))) as PrivateSwarm)
  const host = createHost({
    identity: { keyPath: init.keyPath ?? join(at(name), 'identity.key') },
    listen: LOOPBACK,
    preSharedKey: swarm.key
  })
  const [clock, cuts] = [new HandClock(), [] as string[]]
  const spied = vi.spyOn(host, 'cut')
  spied.mockImplementation((peer) => void cuts.push(peer))
  const membership = new Membership({ host, clock }, { swarm, folder: at(name) })
  host.serve({
    ...SERVES_NOBODY,
    ask: (peer, request) => membership.answer(peer, request, () => ({ type: 'probe' }))
  })
  await host.start()
  await membership.start()
  running.push(host, membership)
  return { host, membership, clock, cuts }
}

/** What the node of a founder called `founder` needs before it can start: its first invitation. */
async function founded(): Promise<TestNode> {
  address = '/ip4/127.0.0.1/tcp/1'
  await inviteAs('founder', { name: 'home' })
  const node = await up('founder')
  address = node.host.addresses[0] as string
  return node
}

/** A member with its own folder, admitted by the founder's node. */
async function member(name: string, roles: readonly Role[] = ALL): Promise<TestNode> {
  const { token } = await inviteAs('founder', { roles })
  await joinPrivate(at(name), token)
  return up(name)
}

function announcing(
  { peerId }: { peerId: string },
  { certificate }: { certificate: Uint8Array }
): Announcement {
  return {
    ...{ peer: peerId, sequence: 1, ttlSeconds: 120, version: '', addresses: [], stages: [], wants: [] },
    ...{ certificate, extensions: {} }
  }
}

const offering = (node: TestNode): Announcement => ({
  ...announcing(node.host, node.membership),
  stages: [STAGE]
})

/** Both know each other when it resolves. */
async function connect(from: TestNode, to: TestNode): Promise<void> {
  const told = [from, to].map(({ host }) => new Promise<void>((resolve) => host.onConnect(() => resolve())))
  await from.host.connect(to.host.addresses[0] as string)
  await Promise.all(told)
}

describe('an invitation', () => {
  test('makes the swarm, is shown to its founder, and lets a machine in', async () => {
    const founder = await founded()
    const { token, swarm, isNew } = await inviteAs('founder', { roles: ['consumer'] })
    expect([isNew, swarm.name, swarm.founder]).toEqual([false, 'home', founder.host.peerId])
    const joined = await joinPrivate(at('other'), token)
    expect(await readSwarmFile(at('other'))).toEqual(joined)
    expect(joined).toMatchObject({ name: 'home', key: swarm.key, founder: founder.host.peerId })
    expect(joined.addresses).toEqual([address])
    expect(await isFounder(at('founder'), swarm)).toBe(true)
    expect(await isFounder(at('other'), joined)).toBe(false)
  })

  test('is good for as many machines as it says, also after a restart; one that comes again counts once', async () => {
    let founder = await founded()
    const { token } = await inviteAs('founder', { uses: 2 })
    await joinPrivate(at('first'), token)
    await joinPrivate(at('first'), token)
    await Promise.all([founder.membership.stop(), founder.host.stop()])
    founder = await up('founder')
    const [moved] = founder.host.addresses as [string]
    const again = encodeToken({ ...decodeToken(token), addresses: [moved.replace(/\/p2p\/.*/, '')] })
    const both = await Promise.allSettled([joinPrivate(at('second'), again), joinPrivate(at('third'), again)])
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    const refused = both.find((result) => result.status === 'rejected')
    expect(refused?.reason).toMatchObject({
      ...{ code: 'REFUSED', message: expect.stringContaining('the invitation has been used already') }
    })
    await joinPrivate(at('first'), again)
  })

  test('expires: by the clock of who comes, and by that of the founder', async () => {
    const founder = await founded()
    const { token } = await inviteAs('founder')
    const clock = new HandClock()
    clock.later = HOUR_MS
    await expect(joinPrivate(at('late'), token, { clock })).rejects.toMatchObject({
      ...{ code: 'TOKEN', message: expect.stringMatching(/^This invitation expired at .*ask for another/) }
    })
    founder.clock.later = HOUR_MS
    await expect(joinPrivate(at('late'), token)).rejects.toMatchObject({
      ...{ code: 'REFUSED', message: expect.stringContaining('the invitation expired at') }
    })
    expect((await readSwarmFile(at('late'))).kind).toBe('local')
  })

  test('that somebody made up, or that is for another swarm of the same founder, is refused', async () => {
    const founder = await founded()
    const { token, swarm } = await inviteAs('founder')
    const { says, ...rest } = decodeToken(token)
    const forger = createHost({ identity: { ephemeral: true }, listen: [] })
    const grant = { ...says, id: 'b'.repeat(22), uses: 100 }
    const forged = encodeToken({
      ...rest,
      grant: await signGrant(grant, swarmId(rest.key), (bytes) => forger.sign(bytes))
    })
    const says_ = {
      code: 'REFUSED',
      message: expect.stringContaining('the invitation is not for this swarm')
    }
    await expect(joinPrivate(at('other'), forged)).rejects.toMatchObject(says_)
    const elsewhere = await signGrant(says, swarmId(randomBytes(32)), (bytes) => founder.host.sign(bytes))
    const asking = createHost({ identity: { ephemeral: true }, listen: [], preSharedKey: swarm.key })
    await asking.start()
    running.push(asking)
    const answer = await asking.ask(founder.host.peerId, [address], { type: 'admit', grant: elsewhere })
    expect(answer).toMatchObject({ type: 'admit', certificate: new Uint8Array() })
  })

  test('cannot be used while the founder is away, or by those who are elsewhere already', async () => {
    const founder = await founded()
    const { token } = await inviteAs('founder')
    await joinPublic(at('public'))
    await expect(joinPrivate(at('public'), token)).rejects.toMatchObject({ code: 'JOINED' })
    await expect(joinPrivate(at('founder'), token)).rejects.toMatchObject({ code: 'JOINED' })
    await founder.host.stop()
    await expect(joinPrivate(at('other'), token)).rejects.toMatchObject({
      ...{
        code: 'FOUNDER',
        message: expect.stringMatching(
          /^The machine that made the swarm home does not answer at .* It has to be up/
        )
      }
    })
  })

  test('is made by the founder alone, where nothing else was joined', async () => {
    await founded()
    await member('other')
    await expect(inviteAs('other')).rejects.toMatchObject({ code: 'JOINED', message: /^Only the machine/ })
    await expect(inviteAs('founder', { name: 'work' })).rejects.toMatchObject({ code: 'JOINED' })
    await joinPublic(at('public'))
    await expect(inviteAs('public')).rejects.toMatchObject({ code: 'JOINED' })
    await leaveSwarm(at('founder'))
    expect((await inviteAs('founder', { name: 'work' })).isNew).toBe(true)
  })

  test('is answered only by the founder', async () => {
    const founder = await founded()
    const { token } = await inviteAs('founder')
    const other = await member('other')
    const asking = await member('asking')
    const { grant } = decodeToken(token)
    await connect(asking, other)
    expect(await asking.host.ask(other.host.peerId, [], { type: 'admit', grant })).toMatchObject({
      ...{ certificate: new Uint8Array(), message: expect.stringContaining(founder.host.peerId) }
    })
  })
})

describe('an outsider', () => {
  test.each([
    ['no key', undefined],
    ['another key', randomBytes(32)]
  ])('with %s completes no handshake, whoever dials', async (_, preSharedKey) => {
    const founder = await founded()
    const heard: string[] = []
    founder.host.onConnect((peer) => heard.push(peer))
    const outsider = createHost({
      ...{ identity: { ephemeral: true }, listen: LOOPBACK },
      ...(preSharedKey === undefined ? {} : { preSharedKey })
    })
    await outsider.start()
    running.push(outsider)
    const failed = { code: 'DIAL_FAILED' }
    // Without a key, the one waits for the other until somebody has enough of it.
    const dial = (from: Host, to: string) => from.connect(to, AbortSignal.timeout(1_000))
    await expect(dial(outsider, address)).rejects.toMatchObject(failed)
    await expect(dial(founder.host, outsider.addresses[0] as string)).rejects.toMatchObject(failed)
    expect([heard, founder.host.peers, outsider.peers]).toEqual([[], [], []])
  })

  test('who has the key, but no certificate, is told nothing, and cut in the end', async () => {
    const founder = await founded()
    const { membership, host, clock, cuts } = founder
    const identity = { keyPath: join(at('outsider'), 'identity.key') }
    const forger = createHost({ identity, listen: [] })
    const issue = { peer: forger.peerId, roles: ALL, issued: Date.now() }
    const certificate = await issueCertificate(issue, swarmId(membership.key), (bytes) => forger.sign(bytes))
    const { swarm } = await inviteAs('founder')
    const outsider = await up('outsider', { swarm: { ...swarm, certificate } })
    const peer = outsider.host.peerId
    await connect(outsider, founder)
    expect([...clock.waiting.values()]).toEqual([5_000, 10_000])
    expect(await membership.allows(peer, 'consumer')).toBe(false)
    expect(membership.admits(offering(outsider))).toBe(false)
    expect(await outsider.host.ask(host.peerId, [], { type: 'directory', models: [] })).toMatchObject({
      ...{ type: 'refused', code: 'membership' }
    })
    expect(cuts).toEqual([])
    clock.runAll()
    expect(cuts).toEqual([peer])
  })
})

describe('a member', () => {
  test('shows its certificate to whoever it connects with, and is not cut', async () => {
    const founder = await founded()
    const [a, b] = [await member('a'), await member('b')]
    await connect(a, b)
    expect(await b.membership.allows(a.host.peerId, 'consumer')).toBe(true)
    expect(await a.membership.allows(b.host.peerId, 'provider')).toBe(true)
    expect(await a.membership.allows(b.host.peerId, 'planner')).toBe(false)
    await connect(a, founder)
    expect(await a.membership.allows(founder.host.peerId, 'planner')).toBe(true)
    expect(await a.host.ask(b.host.peerId, [], { type: 'directory', models: [] })).toMatchObject({
      type: 'probe'
    })
    for (const node of [a, b, founder]) node.clock.runAll()
    expect([a.cuts, b.cuts, founder.cuts]).toEqual([[], [], []])
  })

  test('shows it with what it announces, too', async () => {
    const founder = await founded()
    const other = await member('other')
    const payload = announcements.encode(announcing(founder.host, founder.membership))
    const announcement = { payload, signature: new Uint8Array(64) }
    founder.host.serve({
      ...SERVES_NOBODY,
      ask: (peer, request) =>
        founder.membership.answer(peer, request, () => ({ type: 'probe', announcement }))
    })
    await connect(founder, other)
    expect(await founder.host.ask(other.host.peerId, [], { type: 'directory', models: [] })).toMatchObject({
      type: 'probe'
    })
    expect(await other.host.ask(founder.host.peerId, [], { type: 'probe' })).toMatchObject({ announcement })
    expect(await other.membership.allows(founder.host.peerId)).toBe(true)
  })

  test('does what its roles say, and nothing else', async () => {
    const founder = await founded()
    const [consumer, provider, planner] = [
      await member('consumer', ['consumer']),
      await member('provider', ['provider']),
      await member('planner', ['planner'])
    ]
    const { membership, host } = founder
    expect(membership.admits(offering(consumer))).toBe(false)
    expect(membership.admits(announcing(consumer.host, consumer.membership))).toBe(true)
    expect(membership.admits(offering(provider))).toBe(true)
    expect(await membership.allows(provider.host.peerId, 'consumer')).toBe(false)
    const assign = { type: 'assign', model: STAGE.model, start: 0, end: 1 } as const
    for (const node of [provider, planner]) await connect(node, founder)
    expect(await provider.host.ask(host.peerId, [], assign)).toMatchObject({
      ...{ type: 'refused', message: 'you are not a planner here' }
    })
    expect(await planner.host.ask(host.peerId, [], assign)).toMatchObject({ type: 'probe' })
  })

  test("has no use for another's certificate", async () => {
    const { membership } = await founded()
    const [a, b] = [await member('a'), await member('b')]
    expect(membership.admits(announcing(b.host, a.membership))).toBe(false)
    expect(membership.admits({ ...announcing(a.host, a.membership), certificate: new Uint8Array() })).toBe(
      false
    )
  })

  test('who is invited again gets the roles of that; what it showed before takes them away no more', async () => {
    const founder = await founded()
    const before = await member('a', ['consumer'])
    const { token } = await inviteAs('founder')
    const { certificate } = await joinPrivate(at('a'), token)
    const { membership } = founder
    expect(membership.admits({ ...offering(before), certificate })).toBe(true)
    expect(membership.admits(announcing(before.host, before.membership))).toBe(true)
    expect(await membership.allows(before.host.peerId, 'provider')).toBe(true)
  })

  test('who is blocked, or not on a list of those allowed, is none, and is not admitted', async () => {
    await founded()
    const [a, b] = [await member('a'), await member('b')]
    const { token } = await inviteAs('founder')
    const { grant } = decodeToken(token)
    const of = async (change: 'allow' | 'block', peer: string): Promise<Membership> => {
      await changeList(at('founder'), change, { add: [peer] })
      const { membership } = await up('founder')
      await changeList(at('founder'), change, { remove: [peer] })
      return membership
    }
    for (const membership of [await of('block', a.host.peerId), await of('allow', b.host.peerId)]) {
      expect(membership.admits(announcing(a.host, a.membership))).toBe(false)
      expect(membership.admits(announcing(b.host, b.membership))).toBe(true)
      expect(
        await membership.answer(a.host.peerId, { type: 'admit', grant }, () => {
          throw new Error()
        })
      ).toMatchObject({
        ...{ certificate: new Uint8Array(), message: expect.stringContaining('lists') }
      })
    }
  })
})

describe("a member's deputy", () => {
  test('consumes with a key of its own, for a day', async () => {
    const founder = await founded()
    await member('a')
    const swarm = (await readSwarmFile(at('a'))) as PrivateSwarm
    const keyPath = join(at('deputy'), 'other.key')
    const { peerId } = createHost({ identity: { keyPath }, listen: [] })
    const deputised = await deputise(at('a'), swarm, peerId)
    const deputy = await up('deputy', { swarm: deputised, keyPath })
    await connect(deputy, founder)
    expect(await founder.membership.allows(peerId, 'consumer')).toBe(true)
    expect(founder.membership.admits(offering(deputy))).toBe(false)
    founder.clock.later = 24 * HOUR_MS
    expect(await founder.membership.allows(peerId, 'consumer')).toBe(false)
  })

  test('is blocked with its member', async () => {
    await founded()
    const a = await member('a')
    const swarm = (await readSwarmFile(at('a'))) as PrivateSwarm
    const { peerId } = createHost({ identity: { ephemeral: true }, listen: [] })
    const deputised = await deputise(at('a'), swarm, peerId)
    await changeList(at('founder'), 'block', { add: [a.host.peerId] })
    const { membership } = await up('founder')
    expect(membership.admits(announcing({ peerId }, deputised))).toBe(false)
  })
})
