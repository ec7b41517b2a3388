// Connections through a relay that become direct ones, with hosts on loopback. test/nat/ has routers between them.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createHost } from './host.ts'
import type { DataReceiver, Host, NatOptions } from './types.ts'
import type { Frame } from './wire/types.ts'

const LOOPBACK = '/ip4/127.0.0.1/tcp/0'
const TICKET = new Uint8Array(16)
const LIMITS = { width: 16 * 1024, maxRows: 16 }
/** A first attempt may fail: see direct.ts. */
const PATIENCE = { timeout: 20_000, interval: 10 }

const hosts: Host[] = []
let relay: Host
let hidden: Host
let other: Host
let receiver: DataReceiver | undefined

async function host(listen: string[], nat: NatOptions): Promise<Host> {
  const made = createHost({ identity: { ephemeral: true }, listen, nat })
  hosts.push(made)
  made.serve({
    info: () => ({ version: '1', stages: [], addresses: [], peers: [] }),
    control: (stream) => stream.start({ receive: (message) => stream.send(message), end: () => {} }),
    data: (_, stream) => {
      receiver = stream
      return { epoch: 0, length: 0, maxRows: LIMITS.maxRows }
    }
  })
  await made.start()
  return made
}

beforeEach(async () => {
  relay = await host([LOOPBACK], { relay: true })
  hidden = await host([], { useRelays: true, webrtc: true })
  other = await host([], { webrtc: true })
  await hidden.connect(relay.addresses[0]!)
  await vi.waitFor(() => expect(hidden.addresses[0]).toContain('/p2p-circuit'), PATIENCE)
})

afterEach(async () => {
  await Promise.all(hosts.splice(0).map((each) => each.stop()))
})

/** `other` and `hidden` have a direct connection. */
async function connected(): Promise<void> {
  await other.connect(hidden.addresses[0]!)
  await vi.waitFor(() => expect(other.wayTo(hidden.peerId)).toBe('direct'), PATIENCE)
}

test('the relay is no longer needed', async () => {
  await connected()
  expect(other.addressesOf(hidden.peerId)).toEqual(hidden.addresses)
  await relay.stop()
  expect(await other.info(hidden.peerId, [])).toMatchObject({ version: '1' })
  expect(await hidden.info(other.peerId, [])).toMatchObject({ version: '1' })
})

test('what runs over the relay ends, and is opened anew on the direct connection', async () => {
  const disconnects = vi.fn()
  for (const each of [hidden, other]) each.onDisconnect(disconnects)
  await other.connect(hidden.addresses[0]!)
  const stream = await other.openControl(hidden.peerId, [])
  stream.start({ receive: () => {}, end: () => {} })
  expect(await stream.closed).toMatchObject({
    message: expect.stringContaining('direct connection takes over')
  })
  await relay.stop()
  const next = await other.openControl(hidden.peerId, [])
  const answer = new Promise((resolve) => next.start({ receive: resolve, end: resolve }))
  next.send({ type: 'ping', nonce: 7 })
  expect(await answer).toEqual({ type: 'ping', nonce: 7 })
  expect(disconnects).not.toHaveBeenCalledWith(hidden.peerId)
  expect(disconnects).not.toHaveBeenCalledWith(other.peerId)
})

test('a sender is held back while the receiver is paused, and nothing is lost', async () => {
  await connected()
  const sender = await other.openData(hidden.peerId, [], TICKET)
  const received: number[] = []
  receiver!.pause()
  receiver!.start(LIMITS, { receive: ({ position }) => received.push(position), end: () => {} })
  const frame = (position: number): Frame => {
    const tokens = new Int32Array(LIMITS.maxRows)
    return {
      epoch: 0,
      follows: 0,
      position,
      tokens,
      sample: 'none',
      codec: 'f32',
      payload: new Uint8Array(1024 * 1024)
    }
  }
  let sent = 0
  const sending = (async () => {
    for (; sent < 32; sent++) await sender.send(frame(sent))
  })()
  await vi.waitFor(() => expect(sent).toBeGreaterThan(4), PATIENCE)
  // Round trips on the same connection go on, and give it time to send too much.
  for (let i = 0; i < 20; i++) await other.info(hidden.peerId, [])
  expect(sent).toBeLessThan(24)
  receiver!.resume()
  await sending
  await vi.waitFor(() => expect(received).toEqual(Array.from({ length: 32 }, (_, i) => i)), PATIENCE)
})

test('connecting once more through the relay is no new connection', async () => {
  await connected()
  await other.connect(hidden.addresses[0]!)
  expect(other.wayTo(hidden.peerId)).toBe('direct')
  await relay.stop()
  expect(await other.connect(hidden.addresses[0]!)).toBe(hidden.peerId)
})

test('many sessions may open at once on the new connection', async () => {
  await connected()
  const streams = await Promise.all(Array.from({ length: 100 }, () => other.openControl(hidden.peerId, [])))
  const answers = streams.map((stream, nonce) => {
    const answer = new Promise((resolve) => stream.start({ receive: resolve, end: resolve }))
    stream.send({ type: 'ping', nonce })
    return answer
  })
  expect(await Promise.all(answers)).toEqual(streams.map((_, nonce) => ({ type: 'ping', nonce })))
})
