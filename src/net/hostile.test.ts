// A peer that speaks libp2p and not our protocols: what it sends ends its stream, and nothing else.
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { Libp2p } from 'libp2p'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createHost } from './host.ts'
import { loadIdentity } from './identity.ts'
import { startLibp2p } from './libp2p.ts'
import { CONTROL_PROTOCOL, DATA_PROTOCOL, INFO_PROTOCOL, SWARM_PROTOCOL } from './protocols.ts'
import type { Host } from './types.ts'
import { MAX_MESSAGE_BYTES } from './wire/limits.ts'
import type { Info } from './wire/types.ts'

const INFO: Info = { version: '1', stages: [], addresses: [], peers: [] }
const HELLO = new Uint8Array(17).fill(1) // version 1 and a ticket

let host: Host
let hostile: Libp2p
let ends: PromiseWithResolvers<Error | undefined>
let opened: PromiseWithResolvers<void>
let received: unknown[]
const unhandled: unknown[] = []
const onUnhandled = (reason: unknown) => unhandled.push(reason)

beforeEach(async () => {
  ends = Promise.withResolvers()
  opened = Promise.withResolvers()
  received = []
  unhandled.length = 0
  process.on('unhandledRejection', onUnhandled)
  host = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
  const listener = {
    receive: (value: unknown) => received.push(value),
    end: (error?: Error) => ends.resolve(error)
  }
  host.serve({
    info: () => INFO,
    control: (stream) => {
      stream.start(listener)
      opened.resolve()
    },
    data: (_, stream) => {
      stream.start({ width: 4, maxRows: 2 }, listener)
      return { epoch: 0, length: 0, maxRows: 2 }
    }
  })
  await host.start()
  hostile = await startLibp2p(loadIdentity({ ephemeral: true }), [], () => true)
})

afterEach(async () => {
  // The connection is still good for those who behave.
  const friend = createHost({ identity: { ephemeral: true }, listen: [] })
  await friend.start()
  expect(await friend.info(host.peerId, host.addresses)).toEqual(INFO)
  expect(hostile.getConnections()).toHaveLength(1)
  await Promise.all([friend.stop(), host.stop(), hostile.stop()])
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
})

function open(protocol: string): Promise<Stream> {
  return hostile.dialProtocol(multiaddr(host.addresses[0]!), protocol)
}

function isReset(stream: Stream): Promise<boolean> {
  return new Promise((resolve) => {
    if (stream.status !== 'open') resolve(stream.status === 'reset')
    stream.addEventListener('close', (event) => resolve(event.error != null && !event.local))
  })
}

function lengthOf(bytes: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(bytes).buffer)
}

test.each([
  ['a length above 1 MiB, before the message has come', lengthOf(MAX_MESSAGE_BYTES + 1), 'TOO_LARGE'],
  ['a length of 4 GiB', lengthOf(0xffffffff), 'TOO_LARGE'],
  ['bytes that are no protobuf', Uint8Array.of(3, 0, 0, 0, 0xff, 0xff, 0xff), 'MALFORMED'],
  ['a kind of message that is not known', Uint8Array.of(3, 0, 0, 0, 0xfa, 0x07, 0), 'MALFORMED'],
  ['a refusal without code', Uint8Array.of(2, 0, 0, 0, 0x1a, 0), 'INVALID']
])('control: %s', async (_, bytes, code) => {
  const stream = await open(CONTROL_PROTOCOL)
  const reset = isReset(stream)
  stream.send(bytes)
  expect(await ends.promise).toMatchObject({ name: 'WireError', code })
  expect(await reset).toBe(true)
  expect(received).toEqual([])
})

test('control: a stream that ends within a message', async () => {
  const stream = await open(CONTROL_PROTOCOL)
  stream.send(lengthOf(5))
  await opened.promise // libp2p does not hand on a stream that ends before
  await stream.close()
  expect(await ends.promise).toMatchObject({ name: 'WireError', code: 'MALFORMED' })
})

test('data: another version', async () => {
  const stream = await open(DATA_PROTOCOL)
  const reset = isReset(stream)
  stream.send(Uint8Array.of(2))
  expect(await reset).toBe(true)
})

test('data: frames that do not wait for the ticket to be accepted', async () => {
  const stream = await open(DATA_PROTOCOL)
  const reset = isReset(stream)
  stream.send(Uint8Array.of(...HELLO, 0))
  expect(await reset).toBe(true)
  expect(received).toEqual([])
})

test.each([
  ['random bytes', new Uint8Array(20).fill(0xee), 'VERSION'],
  [
    'a frame of 4 GiB',
    Uint8Array.of(255, 255, 255, 255, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    'MALFORMED'
  ],
  ['too many rows', Uint8Array.of(76, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 'TOO_LARGE']
])('data: %s', async (_, bytes, code) => {
  const stream = await open(DATA_PROTOCOL)
  const accepted = new Promise((resolve) => stream.addEventListener('message', resolve))
  stream.send(HELLO)
  await accepted
  const reset = isReset(stream)
  stream.send(bytes)
  expect(await ends.promise).toMatchObject({ name: 'WireError', code })
  expect(await reset).toBe(true)
})

test('info: a request above its bound', async () => {
  const stream = await open(INFO_PROTOCOL)
  const reset = isReset(stream)
  stream.send(lengthOf(1_000_000))
  expect(await reset).toBe(true)
})

test.each([
  ['a request above its bound', lengthOf(MAX_MESSAGE_BYTES + 1)],
  ['bytes that are no protobuf', Uint8Array.of(3, 0, 0, 0, 0xff, 0xff, 0xff)],
  ['a kind of request that is not known', Uint8Array.of(3, 0, 0, 0, 0xfa, 0x07, 0)]
])('swarm: %s', async (_, bytes) => {
  const stream = await open(SWARM_PROTOCOL)
  const reset = isReset(stream)
  stream.send(bytes)
  expect(await reset).toBe(true)
})
