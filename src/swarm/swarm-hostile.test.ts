/** What peers may send that no honest node does: the swarm stays as it was, and they are cut. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { type AgedAnnouncement, gossip, type Sealed, type SwarmAnswer, type Verdict } from '../net/index.ts'
import { sealSummary, sealWithdrawal } from './announcement.ts'
import type { MemoryNode } from './testing.ts'
import { announced, type Member, Members, MODEL, OTHER_MODEL, stageOf } from './testing-members.ts'

const SEED = 20_261_121
const TOPIC = `/shoal/model/1/${MODEL}`
const TOPICS = [TOPIC, '/shoal/models/1']

let members: Members
let victim: Member

beforeEach(async () => {
  members = new Members()
  const hosts = await members.host(5)
  victim = hosts[0] as Member
})

/** What it knows, in words. */
function state({ swarm }: Member): string {
  const nodes = swarm.directory.nodes.map(({ peer, sequence }) => `${peer} ${sequence}`)
  return JSON.stringify([nodes, swarm.summaries.models, swarm.directory.stagesOf(MODEL).length])
}

async function hears(message: Uint8Array, from: string, topic = TOPIC): Promise<Verdict | undefined> {
  return await victim.node.judges.get(topic)?.(message, from)
}

async function announcementOf(peer: string, sequence = members.memory.clock.wall()): Promise<Uint8Array> {
  return gossip.encode({ type: 'announcement', ...(await announced(peer, { sequence })).sealed })
}

/** One of each kind, as an honest node would send it now. */
async function validMessages(): Promise<Uint8Array[]> {
  const author = members.memory.add('author')
  const sign = (bytes: Uint8Array): Promise<Uint8Array> => author.sign(bytes)
  const at = members.memory.clock.wall()
  const sequence = victim.swarm.directory.announcementOf('node-1')?.sequence ?? 0
  const accusation = await sealWithdrawal({ peer: 'node-1', sequence, observer: 'author', at }, sign)
  const holders = new Uint8Array(8).fill(5)
  const facts = {
    model: OTHER_MODEL,
    name: 'm',
    architecture: 'llama',
    blockCount: 8,
    holders,
    nodes: 5,
    demand: 1
  }
  const summary = await sealSummary({ ...facts, observer: 'author', at }, sign)
  return [
    await announcementOf('author'),
    gossip.encode({ type: 'withdrawal', ...accusation }),
    gossip.encode({ type: 'summary', ...summary })
  ]
}

/** Bytes around what is signed may change without a difference. */
function saysTheSame(message: Uint8Array, changed: Uint8Array): boolean {
  try {
    return isDeepStrictEqual(gossip.decode(message), gossip.decode(changed))
  } catch {
    return false
  }
}

describe('garbage', () => {
  test('of any bytes changes nothing, and nothing throws', async () => {
    const before = state(victim)
    let count = 0
    const property = fc.asyncProperty(
      fc.uint8Array({ maxLength: 400 }),
      fc.constantFrom(...TOPICS),
      async (bytes, topic) => {
        expect(await hears(bytes, `liar-${count++}`, topic)).not.toBe('accept')
      }
    )
    await fc.assert(property, { seed: SEED, numRuns: 3_000 })
    expect(state(victim)).toBe(before)
  })

  test('made of valid messages changes nothing, and nothing throws', async () => {
    const valid = await validMessages()
    const before = state(victim)
    const mutation = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 3
    })
    const cuts = fc.tuple(fc.nat(), fc.boolean())
    let count = 0
    const property = fc.asyncProperty(
      ...[fc.constantFrom(...valid), mutation, cuts, fc.constantFrom(...TOPICS)],
      async (message, changes, [length, isCut], topic) => {
        const bytes = message.slice(0, isCut ? length % message.length : message.length)
        for (const [at, bits] of changes) if (bytes.length > 0) bytes[at % bytes.length]! ^= bits
        if (valid.some((one) => saysTheSame(one, bytes))) return
        expect(await hears(bytes, `liar-${count++}`, topic)).not.toBe('accept')
      }
    )
    await fc.assert(property, { seed: SEED, numRuns: 3_000 })
    await members.advance(5_000)
    expect(state(victim)).toBe(before)
  })

  test('gets its sender cut, and nobody else', async () => {
    const forged = await announcementOf('author')
    forged[forged.length - 1]! ^= 1
    for (let index = 0; index < 4; index++) expect(await hears(forged, 'liar')).toBe('reject')
    expect(await hears(await announcementOf('other'), 'liar')).toBe('ignore')
    expect([...victim.node.cuts.keys()]).toEqual(['liar'])
    expect(victim.node.cuts.get('liar')).toContain('garbage')
    expect(await hears(await announcementOf('other'), 'node-2')).toBe('accept')
  })

  test('now and then is an accident', async () => {
    const forged = await announcementOf('author')
    forged[forged.length - 1]! ^= 1
    for (let index = 0; index < 10; index++) {
      expect(await hears(forged, 'node-1')).toBe('reject')
      await members.advance(20_000)
    }
    expect(victim.node.cuts.size).toBe(0)
  })

  test('is not what newer nodes say: unknown kinds of messages, unknown fields', async () => {
    const kind = Uint8Array.of(0xfa, 0x07, 0) // field 127
    for (let index = 0; index < 20; index++) expect(await hears(kind, 'newer')).toBe('ignore')
    const more = Uint8Array.of(...(await announcementOf('newer')), ...kind)
    expect(await hears(more, 'newer')).toBe('accept')
    expect(victim.swarm.directory.announcementOf('newer')).toBeDefined()
    expect(victim.node.cuts.size).toBe(0)
  })
})

describe('a directory answer', () => {
  function liarWith(announcements: AgedAnnouncement[], summaries: Sealed[] = []): MemoryNode {
    const liar = members.memory.add(`liar-${members.memory.nodes.size}`)
    const answer: SwarmAnswer = { type: 'directory', announcements, summaries }
    liar.answer = () => answer
    return liar
  }

  async function learnFrom(liar: MemoryNode): Promise<unknown> {
    const learnt = victim.swarm.learn(liar.peerId, [], []).then(
      () => undefined,
      (error: unknown) => error
    )
    await members.advance(200)
    return learnt
  }

  test('of garbage changes nothing, and its sender is cut', async () => {
    const before = state(victim)
    const { sealed } = await announced('author', { sequence: members.memory.clock.wall() })
    const garbage = fc.record({
      payload: fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(sealed.payload)),
      signature: fc.uint8Array({ minLength: 64, maxLength: 64 })
    })
    const aged = fc.record({ sealed: garbage, ageSeconds: fc.nat() })
    const answers = fc.tuple(fc.array(aged, { maxLength: 6 }), fc.array(garbage, { maxLength: 6 }))
    const property = fc.asyncProperty(answers, async ([announcements, summaries]) => {
      const liar = liarWith(announcements, summaries)
      const error = await learnFrom(liar)
      const isCut = announcements.length + summaries.length > 3
      expect(victim.node.cuts.has(liar.peerId)).toBe(isCut)
      if (isCut) expect(error).toMatchObject({ code: 'GARBAGE' })
      else expect(error).toBe(undefined)
    })
    await fc.assert(property, { seed: SEED, numRuns: 100 })
    await members.advance(1)
    expect(state(victim)).toBe(before)
  })

  test('with some garbage is good for the rest', async () => {
    const { sealed } = await announced('author', { sequence: members.memory.clock.wall() })
    const broken = { payload: sealed.payload, signature: new Uint8Array(64) }
    const answer = [broken, sealed].map((one) => ({ sealed: one, ageSeconds: 0 }))
    expect(await learnFrom(liarWith(answer))).toBe(undefined)
    expect(victim.swarm.directory.announcementOf('author')).toBeDefined()
  })

  test('does not bring back the dead, nor what is too old', async () => {
    const dead = members.all[1] as Member
    const all = victim.swarm.directory.answer([], () => false)
    members.memory.kill(dead.node)
    void victim.swarm.report(dead.peer)
    await members.advance(10_000)
    const old = await announced('old', { sequence: members.memory.clock.wall() - 800_000 })
    await learnFrom(liarWith([...all, { sealed: old.sealed, ageSeconds: 0 }]))
    expect(victim.swarm.directory.get(dead.peer)).toBe(undefined)
    expect(victim.swarm.directory.get('old')).toBe(undefined)
  })
})

describe('a flood', () => {
  test('through one neighbour is cut, while others are heard', async () => {
    const announcements = await Promise.all(
      Array.from({ length: 2_500 }, (_, index) => announcementOf(`sybil-${index}`))
    )
    let accepted = 0
    for (const [index, message] of announcements.entries()) {
      if ((await hears(message, 'liar')) === 'accept') accepted += 1
      if (index % 500 === 0)
        expect(await hears(await announcementOf(`honest-${index}`), 'node-1')).toBe('accept')
    }
    expect(accepted).toBe(200)
    expect([...victim.node.cuts.keys()]).toEqual(['liar'])
    expect(victim.node.cuts.get('liar')).toContain('floods')
  })

  test('of one author is not passed on', async () => {
    const verdicts: Verdict[] = []
    for (let index = 0; index < 300; index++) {
      await members.advance(100)
      verdicts.push((await hears(await announcementOf('author'), `node-${1 + (index % 4)}`)) ?? 'reject')
    }
    const accepted = verdicts.filter((verdict) => verdict === 'accept').length
    expect(accepted).toBeGreaterThanOrEqual(24)
    expect(accepted).toBeLessThanOrEqual(26)
    expect(victim.node.cuts.size).toBe(0)
  })

  test('of what an author said before does not use up what it may say', async () => {
    const old = await Promise.all(
      [1, 2, 3].map((ms) => announcementOf('author', members.memory.clock.wall() - ms))
    )
    expect(await hears(await announcementOf('author'), 'node-1')).toBe('accept')
    for (let index = 0; index < 300; index++)
      expect(await hears(old[index % 3] as Uint8Array, 'liar')).toBe('ignore')
    await members.advance(1_000)
    expect(await hears(await announcementOf('author'), 'node-1')).toBe('accept')
  })

  test('of withdrawals by one observer ends soon', async () => {
    const hosts: Member[] = []
    for (let index = 0; index < 20; index++) hosts.push(await members.join([stageOf(0, 8)]))
    await members.advance(3_000)
    const liar = members.memory.add('liar')
    const verdicts = await Promise.all(
      hosts.map(async ({ peer }) => {
        const sequence = victim.swarm.directory.announcementOf(peer)?.sequence ?? 0
        const at = members.memory.clock.wall()
        const withdrawal = { peer, sequence, observer: liar.peerId, at }
        const sealed = await sealWithdrawal(withdrawal, (bytes) => liar.sign(bytes))
        return hears(gossip.encode({ type: 'withdrawal', ...sealed }), 'node-1')
      })
    )
    expect(verdicts.filter((verdict) => verdict === 'accept')).toHaveLength(5)
  })

  test('of requests for the directory is refused', async () => {
    const asked = Array.from({ length: 20 }, () =>
      victim.swarm.answer('greedy', { type: 'directory', models: [] })
    )
    const refused = (await Promise.all(asked)).filter(({ type }) => type === 'refused')
    expect(refused).toHaveLength(10)
    expect(await victim.swarm.answer('other', { type: 'directory', models: [] })).toMatchObject({
      type: 'directory'
    })
  })
})
