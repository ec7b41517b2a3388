// Streams to a node far away: also sees when an upgrade of libp2p moves what is reached for.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { delayOf, emulate, PROFILES } from '../../test/wan/index.ts'
import { createHost } from './host.ts'
import { loadIdentity } from './identity.ts'
import { type Libp2pNode, startLibp2p } from './libp2p.ts'
import type { ControlStream, Host } from './types.ts'

const RTT_MS = 100
const links = emulate(PROFILES.none)

let far: Host
let near: Host
let stranger: Libp2pNode

beforeAll(async () => {
  far = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
  near = createHost({ identity: { ephemeral: true }, listen: [] })
  far.serve({
    info: () => ({ version: '1', stages: [], addresses: [], peers: [] }),
    control: (stream) => stream.start({ receive: (message) => stream.send(message), end: () => {} }),
    data: (_, stream) => {
      stream.start({ width: 1, maxRows: 1 }, { receive: () => {}, end: () => {} })
      return { epoch: 0, length: 0, maxRows: 1 }
    },
    ask: () => ({ type: 'load', stages: [] })
  })
  stranger = await startLibp2p(loadIdentity({ ephemeral: true }), ['/ip4/127.0.0.1/tcp/0'], () => true)
  await Promise.all([far.start(), near.start()])
  await near.connect(far.addresses[0] as string)
  await near.connect(String(stranger.getMultiaddrs()[0]))
  links.profile = delayOf(RTT_MS)
})

afterAll(async () => {
  links.profile = PROFILES.none
  await Promise.all([far.stop(), near.stop(), stranger.stop()])
})

async function echoed(stream: ControlStream): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  stream.start({ receive: () => resolve(), end: () => {} })
  stream.send({ type: 'ping', nonce: 1 })
  await promise
}

test.each([
  ['a message and its answer', async () => echoed(await near.openControl(far.peerId, []))],
  ['a ticket and its answer', () => near.openData(far.peerId, [], new Uint8Array(16))],
  ['a question of the swarm', () => near.ask(far.peerId, [], { type: 'load', model: 'a'.repeat(64) })],
  ['an info', () => near.info(far.peerId, [])]
])('%s take one round trip, the opening of their stream included', async (_, talk) => {
  const times: number[] = []
  for (let time = 0; time < 3; time++) {
    const started = performance.now()
    await talk()
    times.push(performance.now() - started)
  }
  expect(Math.min(...times)).toBeGreaterThan(0.9 * RTT_MS)
  expect(Math.min(...times)).toBeLessThan(1.6 * RTT_MS)
})

test('a node that does not speak a protocol is told from one that answers', async () => {
  const peer = stranger.peerId.toString()
  await expect(near.info(peer, [])).rejects.toThrow('does not speak /shoal/info/1')
  await expect(near.openData(peer, [], new Uint8Array(16))).rejects.toMatchObject({ code: 'REFUSED' })
  const control = await near.openControl(peer, [])
  control.send({ type: 'ping', nonce: 1 })
  expect(await control.closed).toMatchObject({ code: 'REFUSED' })
})
