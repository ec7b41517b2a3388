// A consumer whose chain has its own node in it: what it says is what one model says.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { BLOCKS, TestSwarm, wholeAnswer, wholeModel } from '../../test/swarm.ts'
import type { LlamaEngine } from '../engine/index.ts'
import { createHost, type Profile } from '../net/index.ts'
import type { Node } from '../node/index.ts'
import { Stage, StageServer } from '../stage/index.ts'
import { ArithmeticEngine, nextToken } from '../stage/testing.ts'
import type { ChainHop } from '../swarm/index.ts'
import { openSession } from './index.ts'
import { defaultSampler } from './sampler.ts'
import { Talk } from './swarm-testing.ts'
import { all, FISH, NO_END } from './testing.ts'

const TOKENS = 40
const SPANS = ['0-3', '3-6', '6-8']

let whole: LlamaEngine
let prompt: Int32Array
let expected: number[]
let swarm: TestSwarm
let talk: Talk | undefined

beforeAll(async () => {
  whole = wholeModel()
  ;[swarm] = await Promise.all([TestSwarm.start(SPANS), whole.start()])
  prompt = await whole.tokenize(FISH)
  expected = await wholeAnswer(whole, prompt, TOKENS)
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), whole?.stop()])
})

afterEach(async () => {
  await talk?.session.close()
  talk = undefined
  await swarm.allFree()
})

/** A session of the node at one of the hops. */
async function open(hop: number): Promise<{ self: Node; chain: ChainHop[] }> {
  const chain = await swarm.chain()
  const self = swarm.at(chain[hop])
  talk = await Talk.open(swarm, { consumer: self, chain })
  return { self, chain }
}

test.each([
  ['first', 0],
  ['middle', 1],
  ['last', 2]
])('its own node is the %s hop', async (_, hop) => {
  await swarm.shape(SPANS)
  await open(hop)
  expect(await talk?.answer(prompt, TOKENS)).toEqual(expected)
  const rows = prompt.length + TOKENS - 1
  expect(await talk?.rows()).toEqual([rows, rows, rows])
  expect(talk?.events).toEqual([])
})

describe('another hop dies', () => {
  test.each([
    ['after it', 0, [1]],
    ['before it', 1, [0]],
    ['on both sides', 1, [0, 2]],
    ['before it, the tail', 2, [1]]
  ])('%s', async (_, own, lost) => {
    await swarm.shape([...SPANS, ...SPANS])
    const { self, chain } = await open(own)
    const trouble = () => swarm.lose(...lost.map((hop) => swarm.at(chain[hop])))
    expect(await talk?.answer(prompt, TOKENS, trouble)).toEqual(expected)
    expect(talk?.chain[own]?.peer).toBe(self.host.peerId)
    expect(talk?.count('repaired')).toBeGreaterThanOrEqual(1)
  })
})

describe('its own stage', () => {
  test('has the whole model, and needs nobody, not even an address', async () => {
    await swarm.shape([`0-${BLOCKS}`])
    const { self, chain } = await open(0)
    expect(self.host.peers.filter((peer) => peer !== swarm.consumer.host.peerId)).toEqual([])
    await talk?.session.close()
    talk = await Talk.open(swarm, { consumer: self, chain: chain.map((hop) => ({ ...hop, addresses: [] })) })
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
    expect(await talk.rows()).toEqual([prompt.length + TOKENS - 1])
  })

  test('is found by its router, also when it is alone, until it leaves', async () => {
    await swarm.shape([`0-${BLOCKS}`])
    const [self] = swarm.nodes as [Node]
    const model = self.stage?.info.model as string
    const ask = { model, promptTokens: 8, answerTokens: 8, waitMs: 0, signal: AbortSignal.timeout(20_000) }
    const { chain } = await self.route(ask)
    expect(chain.map(({ peer, start, end }) => [peer, start, end])).toEqual([[self.host.peerId, 0, BLOCKS]])
    talk = await Talk.open(swarm, { consumer: self, chain, directory: self.swarm })
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
    await talk.session.close()
    await self.finish()
    await expect(self.route(ask)).rejects.toThrow()
    expect(self.swarm.stages).toEqual([])
    await swarm.lose(self)
  })

  test('restarts its engine, and the answer goes on', async () => {
    await swarm.shape([`0-${BLOCKS}`])
    const { self } = await open(0)
    const kill = async () => process.kill(self.stage?.engine.description.process as number, 'SIGKILL')
    expect(await talk?.answer(prompt, TOKENS, kill)).toEqual(expected)
    expect(talk?.count('lost')).toBeGreaterThanOrEqual(1)
    expect(talk?.chain.map(({ peer }) => peer)).toEqual([self.host.peerId])
  })

  test('takes over when another is lost, and is left when it leaves', async () => {
    await swarm.shape(['0-3', '3-8', '3-8'])
    const chain = await swarm.chain()
    const self = swarm.nodes.find(
      ({ host, stage }) => stage?.info.start === 3 && host.peerId !== chain[1]?.peer
    ) as Node
    talk = await Talk.open(swarm, { consumer: self, chain, directory: await listing(self) })
    expect(await talk.answer(prompt, TOKENS, () => swarm.lose(swarm.at(chain[1])))).toEqual(expected)
    expect(talk.chain[1]?.peer).toBe(self.host.peerId)
    await talk.session.close()
    await swarm.host('3-8')
    talk = await Talk.open(swarm, { consumer: self, chain: await swarm.chain([swarm.at(chain[0]), self]) })
    let finished: Promise<void> | undefined
    const leave = async () => {
      finished = self.finish()
    }
    expect(await talk.answer(prompt, TOKENS, leave)).toEqual(expected)
    expect(talk.chain[1]?.peer).not.toBe(self.host.peerId)
    await Promise.all([finished, talk.session.close()])
    await swarm.lose(self)
  })

  /** What all nodes host, as one of them knows it. */
  async function listing(self: Node) {
    const stages = await swarm.chain().then(async () => (await swarm.directory()).stages)
    expect(stages.map(({ peer }) => peer)).toContain(self.host.peerId)
    return { stages, refresh: async () => {} }
  }
})

test('all three stages of a chain are its own', async () => {
  const host = createHost({ identity: { ephemeral: true }, listen: [] })
  const server = new StageServer({ host })
  const profile: Profile = {
    ...{ kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
  }
  const place = { model: 'a'.repeat(64), name: 'm', architecture: 'llama', blockCount: BLOCKS, profile }
  const chain: ChainHop[] = []
  for (const span of SPANS) {
    const [start = 0, end = 0] = span.split('-').map(Number)
    const stage = new Stage({ engine: new ArithmeticEngine() }, { ...place, start, end })
    await stage.start()
    server.add(stage)
    chain.push({ peer: host.peerId, addresses: [], stage: stage.info, start, end })
  }
  host.serve({
    info: () => ({ version: '1', stages: server.infos, addresses: [], peers: [] }),
    control: (stream) => server.control(stream),
    data: (ticket, stream) => server.data(ticket, stream)
  })
  await host.start()
  const session = await openSession({ host }, { chain, sampler: defaultSampler(), reserve: 256 })
  const ids = [3, 1, 4, 1, 5]
  const answer = await all(session.generate(Int32Array.from(ids), { maxTokens: 30, endTokens: NO_END }))
  for (const token of answer) {
    expect(token).toBe(nextToken(ids))
    ids.push(token)
  }
  await session.close()
  expect(server.sessions).toBe(0)
  await Promise.all([server.stop(), host.stop()])
})
