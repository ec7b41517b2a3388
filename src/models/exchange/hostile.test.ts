// What peers may send on a piece stream that no honest node does: they are cut, and others are served.
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  createHost,
  type Host,
  type PieceChunk,
  type PieceMessage,
  type PieceStream
} from '../../net/index.ts'
import { type ExchangeNode, exchangeNode, MemoryModel, testModel } from './testing.ts'

const SEED = 20_261_121
const model = await testModel({ blocks: 2 })
const { manifest, pieces, allParts } = model
const { id } = manifest
const NOTHING = new Uint8Array(Math.ceil(pieces.count / 8))
const OPEN: PieceMessage = { type: 'open', model: id, pieces: NOTHING }

let victim: ExchangeNode
let victimStore: MemoryModel
let hostile: Host
const unhandled: unknown[] = []
const onUnhandled = (reason: unknown) => unhandled.push(reason)

beforeAll(async () => {
  process.on('unhandledRejection', onUnhandled)
  victimStore = new MemoryModel(model, (index) => index !== 0)
  victim = await exchangeNode((asked) => (asked === id ? victimStore : undefined))
  hostile = createHost({ identity: { ephemeral: true }, listen: [] })
  await hostile.start()
})

afterEach(async () => {
  // Others are served as before.
  const stored = new MemoryModel(model, (index) => index === 0)
  const friend = await exchangeNode(() => stored)
  await friend.exchange.open(victim.host.peerId, victim.host.addresses, id)
  await friend.exchange.fetch(stored, { parts: allParts })
  await friend.host.stop()
  expect(victimStore.has(0)).toBe(false)
})

afterAll(async () => {
  await Promise.all([victim.host.stop(), hostile.stop()])
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
})

interface Talk {
  readonly stream: PieceStream
  readonly heard: (PieceMessage | PieceChunk)[]
  /** Resolves when there is such a message. */
  until(type: string): Promise<void>
  /** Why it was reset. */
  readonly ended: Promise<Error | undefined>
}

async function talk(...messages: PieceMessage[]): Promise<Talk> {
  const stream = await hostile.openPieces(victim.host.peerId, victim.host.addresses)
  const heard: (PieceMessage | PieceChunk)[] = []
  const waiting = new Map<string, () => void>()
  const { promise: ended, resolve } = Promise.withResolvers<Error | undefined>()
  stream.start({
    receive: (message) => {
      heard.push(message.type === 'chunk' ? { ...message, bytes: message.bytes.slice() } : message)
      waiting.get(message.type)?.()
    },
    end: resolve
  })
  for (const message of messages) stream.send(message)
  const until = (type: string): Promise<void> =>
    new Promise((done) => {
      if (heard.some((message) => message.type === type)) done()
      waiting.set(type, done)
    })
  return { stream, heard, until, ended }
}

async function opened(): Promise<Talk> {
  const made = await talk(OPEN)
  await made.until('opened')
  return made
}

async function unchoked(): Promise<Talk> {
  const made = await opened()
  made.stream.send({ type: 'interested' })
  await made.until('unchoke')
  return made
}

const many = (count: number, message: PieceMessage): PieceMessage[] =>
  Array.from({ length: count }, () => message)

describe('a stream is reset', () => {
  test.each<[string, PieceMessage[]]>([
    ['that begins with something else', [{ type: 'interested' }]],
    ['whose pieces are too few', [{ ...OPEN, pieces: NOTHING.subarray(1) } as PieceMessage]],
    ['whose pieces are too many', [{ ...OPEN, pieces: new Uint8Array(NOTHING.length + 1) } as PieceMessage]],
    ['that does not wait for the answer', [OPEN, { type: 'interested' }]]
  ])('%s', async (_, messages) => {
    expect(await (await talk(...messages)).ended).toBeInstanceOf(Error)
  })

  test.each<[string, PieceMessage[]]>([
    ['for a second beginning', [OPEN]],
    ['for a piece that the model does not have', [{ type: 'have', indices: [pieces.count] }]],
    ['for a rejection of what nobody asked for', [{ type: 'reject', indices: [1] }]],
    ['for telling the same again and again', many(3_000, { type: 'have', indices: [1] })],
    ['for changing its mind again and again', many(3_000, { type: 'interested' })],
    ['for cancelling nothing again and again', many(3_000, { type: 'cancel', indices: [1] })],
    ['for requests that it may not make, again and again', many(3_000, { type: 'request', indices: [1] })]
  ])('%s', async (_, messages) => {
    const { stream, ended } = await opened()
    for (const message of messages) stream.send(message)
    expect(await ended).toBeInstanceOf(Error)
  })

  test('for bytes that nobody asked for', async () => {
    const { stream, ended } = await opened()
    await stream.sendChunks([{ type: 'chunk', index: 0, offset: 0, bytes: Uint8Array.of(1) }])
    expect(await ended).toBeInstanceOf(Error)
  })

  test('for requesting a piece twice', async () => {
    const { stream, ended } = await unchoked()
    stream.send({ type: 'request', indices: [1, 1] })
    expect(await ended).toBeInstanceOf(Error)
  })
})

describe('an answer', () => {
  test('is a rejection where there is no such piece, or the peer is choked', async () => {
    const { stream, until, heard } = await opened()
    stream.send({ type: 'request', indices: [1] })
    await until('reject')
    stream.send({ type: 'interested' })
    await until('unchoke')
    stream.send({ type: 'request', indices: [0] })
    stream.send({ type: 'request', indices: [1] })
    await until('chunk')
    expect(heard).toContainEqual({ type: 'reject', indices: [0] })
    await stream.close()
  })

  test('is a refusal for a model that is not here', async () => {
    const { until, ended } = await talk({ ...OPEN, model: 'ab'.repeat(32) } as PieceMessage)
    await until('refused')
    expect(await ended).toBeUndefined()
  })
})

test('whatever is said, nothing breaks', async () => {
  const indices = fc.array(fc.nat(pieces.count), { minLength: 1, maxLength: 4 })
  const message = fc.oneof<fc.Arbitrary<PieceMessage>[]>(
    fc.record({ type: fc.constantFrom('have', 'request', 'cancel'), indices }),
    fc.record({ type: fc.constantFrom('interested', 'uninterested', 'choke', 'unchoke') }),
    fc.record({ type: fc.constant('reject'), indices: fc.array(fc.nat(3), { minLength: 1, maxLength: 1 }) })
  )
  const property = fc.asyncProperty(fc.array(message, { maxLength: 20 }), async (messages) => {
    const { stream, ended } = await opened()
    for (const each of messages) stream.send(each)
    await stream.close()
    await ended
  })
  // Few: a peer may open so many streams within a while.
  await fc.assert(property, { seed: SEED, numRuns: 30 })
})

test('who opens streams without end is not let in for a while', async () => {
  const flood = createHost({ identity: { ephemeral: true }, listen: [] })
  await flood.start()
  let failed: unknown
  for (let count = 0; count < 2_000 && failed === undefined; count++) {
    await flood
      .openPieces(victim.host.peerId, victim.host.addresses)
      .then(async (stream) => {
        stream.send({ type: 'uninterested' })
        await stream.close()
      })
      .catch((error: unknown) => {
        failed = error
      })
  }
  expect(failed).toBeInstanceOf(Error)
  await flood.stop()
})
