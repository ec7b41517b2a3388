// Stages on real nodes, opened by hand: what is refused, and that all is freed whatever happens.
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Conversation, HandPeer } from '../../test/hand-peer.ts'
import { eventually, TestSwarm } from '../../test/swarm.ts'
import type { Frame, NextHop, Open } from '../net/index.ts'
import type { Node } from '../node/index.ts'
import { defaultSampler } from '../session/index.ts'

const FREE = { sequences: 4, positions: 1024 }
const WIDTH = 128

let swarm: TestSwarm
let middle: Node
let tail: Node
let peer: HandPeer

beforeAll(async () => {
  swarm = await TestSwarm.start(['3-6', '6-8'])
  ;[middle, tail] = swarm.nodes.toSorted(
    (a, b) => (a.stage?.info.start ?? 0) - (b.stage?.info.start ?? 0)
  ) as [Node, Node]
  peer = new HandPeer()
  await peer.start()
})

afterAll(async () => {
  await Promise.all([peer?.stop(), swarm?.stop()])
})

afterEach(async () => {
  for (const node of [middle, tail]) await eventually(() => expect(node.stage?.free).toEqual(FREE))
})

function rows(position: number, count: number, epoch = 0): Frame {
  const floats = Float32Array.from({ length: count * WIDTH }, (_, index) =>
    Math.sin(position * WIDTH + index)
  )
  const tokens = new Int32Array(count).fill(50)
  return {
    epoch,
    follows: 0,
    position,
    tokens,
    sample: 'last',
    codec: 'f32',
    payload: new Uint8Array(floats.buffer)
  }
}

/** Keeps timers of 30 s from now on, which is what a stage waits for a consumer, so that a test can let them expire. */
function graceTimers(): { timers: (() => void)[]; restore: () => void } {
  const timers: (() => void)[] = []
  const set = setTimeout
  const spy = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((expire: () => void, ms?: number) => {
    if (ms === 30_000) timers.push(expire)
    return set(expire, ms)
  }) as typeof setTimeout)
  return { timers, restore: () => spy.mockRestore() }
}

/** Waits until a stage says that it has computed so many rows. */
async function expectComputed(talk: Conversation, rows: number): Promise<void> {
  await eventually(() => {
    talk.control.send({ type: 'ping', nonce: 1 })
    expect(talk.messages.at(-1)).toMatchObject({ type: 'pong', computed: rows })
  })
}

describe('an Open is refused', () => {
  const cases: [
    name: string,
    node: () => Node,
    change: (open: Open) => Partial<Open>,
    code: string,
    says: string
  ][] = [
    [
      'for another model',
      () => middle,
      () => ({ model: 'f'.repeat(64) }),
      'model',
      'does not host the model'
    ],
    ['for a span that begins elsewhere', () => middle, () => ({ start: 4 }), 'span', 'it hosts 3-6'],
    ['for a span that goes on', () => middle, () => ({ end: 7 }), 'span', 'blocks 3-7'],
    ['as a tail that ends too early', () => tail, () => ({ end: 7 }), 'span', 'ends at block 8, not 7'],
    ['as a tail in the middle', () => middle, () => ({ head: true }), 'span', 'ends at block 8, not 6'],
    ['without a next hop', () => middle, () => ({ next: undefined }), 'next', 'has a next one'],
    [
      'as a tail with a next hop',
      () => tail,
      () => ({ next: { peer: 'x', addresses: [], ticket: randomBytes(16) } }),
      'next',
      'every hop but the tail'
    ],
    [
      'with another cache',
      () => middle,
      ({ profile }) => ({ profile: { ...profile, kvTypeV: 'q8_0' } }),
      'profile',
      'kvTypeV is f16 here, not q8_0'
    ],
    ['without a sampler', () => tail, () => ({ sampler: undefined }), 'input', 'needs a sampler'],
    ['for no positions', () => tail, () => ({ reserve: 0 }), 'input', 'no positions'],
    ['for more than there is', () => tail, () => ({ reserve: 2 ** 31 - 1 }), 'full', '1024 are free'],
    [
      'with settings that the engine does not take',
      () => tail,
      () => ({ sampler: defaultSampler({ repeatPenalty: 0 }) }),
      'input',
      'repeatPenalty'
    ],
    [
      'with a bias on no token',
      () => tail,
      () => ({ sampler: defaultSampler({ logitBias: [{ token: 5_000, bias: 1 }] }) }),
      'input',
      'no token 5000'
    ],
    [
      'with a grammar that does not parse',
      () => tail,
      () => ({ sampler: defaultSampler({ grammar: 'root ::= (' }) }),
      'input',
      'grammar'
    ]
  ]

  test.each(cases)('%s', async (_, node, change, code, says) => {
    const message = peer.openMessage(node())
    const talk = await peer.say(node(), { ...message, ...change(message) })
    const refused = await talk.heard('refused')
    expect([refused.code, refused.message]).toEqual([code, expect.stringContaining(says)])
    await eventually(() => expect(talk.hasEnded).toBe(true))
  })

  test('when all sessions are taken', async () => {
    const open = await Promise.all(Array.from({ length: 4 }, () => peer.open(tail)))
    const talk = await peer.say(tail, peer.openMessage(tail))
    expect(await talk.heard('refused')).toMatchObject({ code: 'full', message: 'all 4 sessions are taken' })
    for (const { talk } of open) talk.control.send({ type: 'close' })
  })
})

test.each([
  ['a setting of the whole context', { penaltyLastN: -1, repeatPenalty: 1.1 }],
  ['a setting beyond the context', { penaltyLastN: 1_000_000, repeatPenalty: 1.1 }],
  ['an "off" of llama.cpp', { topK: -1 }],
  [
    'dry sampling that is off',
    { dry: { multiplier: 0, base: 0, allowedLength: 0, penaltyLastN: 0, breakers: [] } }
  ],
  [
    'dry sampling over everything',
    { dry: { multiplier: 1, base: 2, allowedLength: 2, penaltyLastN: -1, breakers: ['.'] } }
  ]
])('%s is taken', async (_, settings) => {
  const { talk, data } = await peer.open(tail, { sampler: defaultSampler(settings) })
  void data.send(rows(0, 3))
  expect((await talk.heard('tokens')).tokens).toHaveLength(1)
  await talk.control.close()
})

describe('data streams', () => {
  test('may come before their Open', async () => {
    const message = peer.openMessage(tail)
    const early = peer.data(tail, message.ticketIn)
    const talk = await peer.say(tail, message)
    void (await early).send(rows(0, 2))
    await talk.heard('tokens')
    talk.control.send({ type: 'close' })
  })

  test('whose Open does not come are refused, and only so many may wait', async () => {
    const strangers = Array.from({ length: 65 }, () => peer.data(tail, randomBytes(16)))
    for (const refused of strangers) refused.catch(() => {})
    await expect(Promise.race(strangers)).rejects.toMatchObject({ code: 'REFUSED' })
    const results = await Promise.allSettled(strangers)
    expect(results.every(({ status }) => status === 'rejected')).toBe(true)
  })
})

test('frames go through a middle stage to the next hop, with ids, positions and epochs', async () => {
  const { talk, data } = await peer.open(middle)
  void data.send(rows(0, 5))
  void data.send(rows(5, 1))
  await eventually(() => expect(peer.frames).toHaveLength(2)) // what still waits would be cut by the next one
  void data.send(rows(3, 2, 4))
  await eventually(() => expect(peer.frames).toHaveLength(3))
  const seen = peer.frames.map(({ epoch, position, tokens, payload }) => [
    epoch,
    position,
    tokens.length,
    payload.length
  ])
  expect(seen).toEqual([
    [0, 0, 5, 5 * 4 * WIDTH],
    [0, 5, 1, 4 * WIDTH],
    [4, 3, 2, 2 * 4 * WIDTH]
  ])
  await talk.control.close()
})

test('a next hop that is nowhere is said, and another one gets what was computed meanwhile', async () => {
  const message = peer.openMessage(middle)
  const nowhere = { ...(message.next as NextHop), peer: 'nobody', ticket: new Uint8Array(16).fill(7) }
  const { talk, data } = await peer.open(middle, { next: nowhere })
  expect((await talk.heard('unlinked')).ticket).toEqual(nowhere.ticket)
  void data.send(rows(0, 5))
  void data.send(rows(5, 1))
  await expectComputed(talk, 6)
  const before = peer.frames.length
  const next = { peer: peer.host.peerId, addresses: peer.host.addresses, ticket: new Uint8Array(16).fill(8) }
  talk.control.send({ type: 'rewire', next, drawFrom: 5 })
  expect((await talk.heard('linked')).ticket).toEqual(next.ticket)
  await eventually(() => expect(peer.frames).toHaveLength(before + 1))
  expect(peer.frames[before]).toMatchObject({ epoch: 0, position: 0, sample: 'last' })
  expect(peer.frames[before]?.tokens).toHaveLength(6)
  await talk.control.close()
})

test('another hop before hears what is here, and goes on from there', async () => {
  const { talk, data } = await peer.open(tail)
  expect(data.accepted).toEqual({ epoch: 0, length: 0, maxRows: tail.stage?.info.maxRows })
  await data.send(rows(0, 4))
  await talk.heard('tokens')
  const ticketIn = randomBytes(16)
  talk.control.send({ type: 'rewire', ticketIn, drawFrom: 0 })
  const other = await peer.data(tail, ticketIn)
  expect(other.accepted).toMatchObject({ epoch: 0, length: 4 })
  await expect(data.closed).resolves.toBeInstanceOf(Error)
  void other.send(rows(4, 1))
  await eventually(() =>
    expect(talk.messages).toContainEqual(expect.objectContaining({ type: 'tokens', position: 4 }))
  )
  await talk.control.close()
})

test('a consumer that breaks off finds its session again, and what was drawn meanwhile', async () => {
  const message = peer.openMessage(tail)
  const talk = await peer.say(tail, message)
  await talk.heard('opened')
  const data = await peer.data(tail, message.ticketIn)
  talk.control.abort(new Error('lost'))
  void data.send(rows(0, 3))
  const back = await peer.say(tail, { type: 'resume', session: message.session, drawFrom: 0 })
  expect(await back.heard('tokens')).toMatchObject({ epoch: 0, position: 2 })
  expect(tail.stage?.free).toEqual({ sequences: 3, positions: 1024 - 64 })
  const stranger = new HandPeer()
  await stranger.start()
  const theft = await stranger.say(tail, { type: 'resume', session: message.session, drawFrom: 0 })
  expect(await theft.heard('refused')).toMatchObject({ code: 'session' })
  await stranger.stop()
  await back.control.close()
})

test('a consumer that does not come back holds nothing after a while', async () => {
  const consumer = new HandPeer()
  await consumer.start()
  for (const node of [middle, tail]) {
    const { data } = await consumer.open(node)
    void data.send(rows(0, 8))
  }
  expect(middle.stage?.free.positions).toBe(1024 - 64)
  const { timers, restore } = graceTimers()
  await consumer.stop()
  await eventually(() => expect(timers).toHaveLength(2))
  restore()
  expect([middle, tail].map(({ stage }) => stage?.free.positions)).toEqual([1024 - 64, 1024 - 64])
  for (const expire of timers) expire()
})

test('an engine that is killed ends its sessions, and the stage serves again when it is back', async () => {
  const { engine } = tail.stage as NonNullable<Node['stage']>
  const { talk, data } = await peer.open(tail)
  void data.send(rows(0, 4))
  const { tokens } = await talk.heard('tokens')
  const isBack = new Promise((resolve) =>
    engine.onStateChange((state) => state === 'restarted' && resolve(state))
  )
  process.kill(engine.description.process, 'SIGKILL')
  expect(await talk.heard('refused')).toMatchObject({
    code: 'engine',
    message: expect.stringContaining('SIGKILL')
  })
  await isBack
  const again = await peer.open(tail)
  void again.data.send(rows(0, 4))
  expect((await again.talk.heard('tokens')).tokens).toEqual(tokens)
  again.talk.control.send({ type: 'close' })
})
