// Nodes over emulated links: also sees when an upgrade of libp2p moves what the emulation reaches for.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createHost, type DataReceiver, type Frame, type Host } from '../../src/net/index.ts'
import { delayOf, emulate, PROFILES } from './index.ts'

const RTT_MS = 40
const WIDTH = 1_024
const ROWS = 64
const FRAME: Frame = {
  ...{ epoch: 0, follows: 0, position: 0, sample: 'last', codec: 'f32' },
  tokens: new Int32Array(ROWS),
  payload: new Uint8Array(ROWS * WIDTH * 4)
}

const links = emulate(PROFILES.none)
const hosts: Host[] = []
let receiver: Host
let received: { frame: (frame: Frame) => void; end: (error?: Error) => void; stream?: DataReceiver }

function host(listen: string[]): Host {
  const made = createHost({ identity: { ephemeral: true }, listen })
  hosts.push(made)
  return made
}

beforeAll(async () => {
  receiver = host(['/ip4/127.0.0.1/tcp/0'])
  received = { frame: () => {}, end: () => {} }
  receiver.serve({
    info: () => ({ version: '1', stages: [], addresses: [], peers: [] }),
    control: () => {},
    data: (_, stream) => {
      received.stream = stream
      stream.start(
        { width: WIDTH, maxRows: ROWS },
        { receive: (frame) => received.frame(frame), end: (error) => received.end(error) }
      )
      return { epoch: 0, length: 0, maxRows: ROWS }
    }
  })
  await receiver.start()
})

afterEach(() => {
  links.profile = PROFILES.none
})

afterAll(() => Promise.all(hosts.map((each) => each.stop())))

async function connected(): Promise<Host> {
  const sender = host([])
  await sender.start()
  await sender.connect(receiver.addresses[0] as string)
  return sender
}

/** The lower quartile: whoever else computes here makes some later. */
async function usualPing(sender: Host): Promise<number> {
  const times: number[] = []
  for (let time = 0; time < 21; time++) times.push(await sender.ping(receiver.peerId))
  return times.toSorted((a, b) => a - b)[5] as number
}

test('a ping takes the round trip more', async () => {
  const sender = await connected()
  const before = await usualPing(sender)
  links.profile = delayOf(RTT_MS)
  const more = (await usualPing(sender)) - before
  expect(more).toBeGreaterThan(RTT_MS - 0.6)
  expect(more).toBeLessThan(RTT_MS + 1.5)
})

test('to connect takes the round trips of TCP and of the handshakes', async () => {
  links.profile = delayOf(RTT_MS)
  const started = performance.now()
  await connected()
  const roundTrips = (performance.now() - started) / RTT_MS
  expect(roundTrips).toBeGreaterThan(2.9)
  expect(roundTrips).toBeLessThan(6)
})

test('who refuses a connection is heard of a round trip later', async () => {
  const sender = host([])
  await sender.start()
  links.profile = delayOf(RTT_MS)
  const started = performance.now()
  await expect(sender.connect('/ip4/127.0.0.1/tcp/1')).rejects.toThrow('cannot reach')
  expect(performance.now() - started).toBeGreaterThan(RTT_MS - 1)
})

test('frames pass at the rate, and their sender waits for it', async () => {
  const sender = await connected()
  const stream = await sender.openData(receiver.peerId, [], new Uint8Array(16))
  links.profile = PROFILES.city
  const count = 24 // of 256 KiB: half a second
  let seen = 0
  const all = Promise.withResolvers<void>()
  received.frame = () => {
    seen += 1
    if (seen === count) all.resolve()
  }
  const started = performance.now()
  for (let index = 0; index < count; index++) await stream.send(FRAME)
  const takenMs = performance.now() - started
  await all.promise
  const ms = performance.now() - started
  const expectedMs = (count * FRAME.payload.byteLength * 8_000) / PROFILES.city.bitsPerSecond + 10
  expect(ms / expectedMs).toBeGreaterThan(0.97)
  expect(ms / expectedMs).toBeLessThan(1.1)
  expect(takenMs / expectedMs).toBeGreaterThan(0.85) // all but what the system's buffer holds
})

test('what was sent before an orderly end arrives before it; a reset is heard of in time', async () => {
  const sender = await connected()
  links.profile = PROFILES.country
  const stream = await sender.openData(receiver.peerId, [], new Uint8Array(16))
  let seen = 0
  received.frame = () => {
    seen += 1
  }
  const ended = new Promise<Error | undefined>((resolve) => {
    received.end = resolve
  })
  await stream.send(FRAME)
  void stream.close()
  expect(await ended).toBeUndefined()
  expect(seen).toBe(1)

  const gone = new Promise<void>((resolve) => {
    const stop = receiver.onDisconnect((peer) => {
      if (peer !== sender.peerId) return
      stop()
      resolve()
    })
  })
  const started = performance.now()
  void sender.stop()
  await gone
  const ms = performance.now() - started
  expect(ms).toBeGreaterThan(PROFILES.country.rttMs / 2 - 1)
  expect(ms).toBeLessThan(PROFILES.country.rttMs * 2)
})
