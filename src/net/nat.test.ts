// Nodes that only a relay can reach, with hosts on loopback.
import { afterEach, expect, test, vi } from 'vitest'
import { createHost } from './host.ts'
import type { Handlers, Host, HostInit } from './types.ts'
import type { SwarmRequest } from './wire/types.ts'

const ASK: SwarmRequest = { type: 'directory', models: [] }
const DIRECTORY = { type: 'directory' as const, announcements: [], summaries: [] }
const SERVES: Handlers = {
  info: () => ({ version: '1', stages: [], addresses: [], peers: [] }),
  control: (stream) =>
    stream.start({
      receive: (message) => {
        if (message.type === 'ping') stream.send({ ...message, ...STATE, type: 'pong' })
      },
      end: () => {}
    }),
  data: () => ({ epoch: 0, length: 0, maxRows: 1 }),
  ask: () => DIRECTORY
}
const STATE = { epoch: 0, length: 0, computed: 0, receivedBytes: 0, stepMicroseconds: 0 }
const LOOPBACK = '/ip4/127.0.0.1/tcp/0'

const hosts: Host[] = []

async function host(listen: string[], nat: HostInit['nat']): Promise<Host> {
  const made = createHost({ identity: { ephemeral: true }, listen, ...(nat === undefined ? {} : { nat }) })
  hosts.push(made)
  made.serve(SERVES)
  await made.start()
  return made
}

/** A relay, who is reached through it only, and somebody else. */
async function relayed(): Promise<{ relay: Host; hidden: Host; other: Host; address: string }> {
  const relay = await host([LOOPBACK], { relay: true })
  const hidden = await host([], { useRelays: true })
  const other = await host([], {})
  await hidden.connect(relay.addresses[0]!)
  const address = await vi.waitFor(() => {
    const [first] = hidden.addresses
    expect(first).toContain('/p2p-circuit')
    return first!
  })
  return { relay, hidden, other, address }
}

/** Until something published by one has been heard by the other. */
async function gossips(from: Host, to: Host, topic: string): Promise<void> {
  const heard: Uint8Array[] = []
  to.subscribe(topic, (message) => {
    heard.push(message)
    return 'accept'
  })
  let count = 0
  await vi.waitFor(
    async () => {
      await from.publish(topic, Uint8Array.of(count++))
      expect(heard).not.toEqual([])
    },
    { timeout: 5_000 }
  )
}

afterEach(async () => {
  await Promise.all(hosts.splice(0).map((each) => each.stop()))
})

test('all that a node does goes through a relay, too', async () => {
  const { hidden, other, address } = await relayed()
  expect(await other.connect(address)).toBe(hidden.peerId)
  expect(await other.ask(hidden.peerId, [], ASK)).toEqual(DIRECTORY)
  expect(await other.info(hidden.peerId, [])).toMatchObject({ version: '1' })
  expect(await other.ping(hidden.peerId)).toBeGreaterThan(0)
  const sender = await other.openData(hidden.peerId, [], new Uint8Array(16))
  expect(sender.accepted).toMatchObject({ maxRows: 1 })
  const control = await other.openControl(hidden.peerId, [])
  const pong = new Promise((resolve, reject) => control.start({ receive: resolve, end: reject }))
  control.send({ type: 'ping', nonce: 7 })
  expect(await pong).toMatchObject({ type: 'pong', nonce: 7 })
  await gossips(other, hidden, 'topic')
})

test('peers are told of an address through a relay when there is one', async () => {
  const relay = await host([LOOPBACK], { relay: true })
  const hidden = await host([LOOPBACK], { useRelays: true })
  const other = await host([LOOPBACK], {})
  await hidden.connect(other.addresses[0]!)
  await vi.waitFor(() => expect(other.addressesOf(hidden.peerId)).toEqual(hidden.addresses))
  await hidden.connect(relay.addresses[0]!)
  await vi.waitFor(() => expect(hidden.addresses).toHaveLength(2))
  await vi.waitFor(() => expect(other.addressesOf(hidden.peerId)).toHaveLength(2), { timeout: 5_000 })
  const [direct, circuit] = other.addressesOf(hidden.peerId)
  expect(direct).not.toContain('/p2p-circuit')
  expect(circuit).toContain(`/p2p/${relay.peerId}/p2p-circuit/p2p/${hidden.peerId}`)
})

test('a direct connection is used when there is one', async () => {
  const relay = await host([LOOPBACK], { relay: true })
  const hidden = await host([LOOPBACK], { useRelays: true })
  const other = await host([], {})
  await hidden.connect(relay.addresses[0]!)
  const circuit = await vi.waitFor(() => {
    expect(hidden.addresses).toHaveLength(2)
    return hidden.addresses.find((address) => address.includes('/p2p-circuit'))!
  })
  const direct = hidden.addresses.find((address) => address !== circuit)!
  await other.connect(circuit)
  await Promise.all([gossips(other, hidden, 'a'), gossips(hidden, other, 'b')])
  await other.connect(direct)
  expect(other.addressesOf(hidden.peerId)).toEqual([direct, circuit])
  const stream = await other.openControl(hidden.peerId, [])
  const pongs = new Promise((resolve, reject) => stream.start({ receive: resolve, end: reject }))
  relay.cut(other.peerId, 'a test', 60_000)
  stream.send({ type: 'ping', nonce: 7 })
  expect(await pongs).toMatchObject({ type: 'pong', nonce: 7 })
  await Promise.all([gossips(other, hidden, 'c'), gossips(hidden, other, 'd')])
})

test('without any of it, an address through a relay is not dialled', async () => {
  const { address } = await relayed()
  const minimal = await host([], undefined)
  await expect(minimal.connect(address)).rejects.toMatchObject({ code: 'DIAL_FAILED' })
})

test('WebSockets, for browsers and strict firewalls', async () => {
  const server = await host([`${LOOPBACK}/ws`], undefined)
  const client = await host([], {})
  expect(await client.ask(server.peerId, server.addresses, ASK)).toEqual(DIRECTORY)
})

test('WebRTC Direct, without a certificate that anybody knows', async () => {
  const server = await host(['/ip4/127.0.0.1/udp/0/webrtc-direct'], { webrtc: true })
  const client = await host([], { webrtc: true })
  expect(server.addresses[0]).toContain('/certhash/')
  expect(await client.ask(server.peerId, server.addresses, ASK)).toEqual(DIRECTORY)
})

test('a node that looks for a relay and finds none does nothing in between', async () => {
  const lonely = createHost({
    ...{ identity: { ephemeral: true }, listen: [LOOPBACK], kademlia: true, nat: { useRelays: true } }
  })
  hosts.push(lonely)
  await lonely.start()
  const before = performance.eventLoopUtilization()
  await new Promise((resolve) => setTimeout(resolve, 500)) // what must not happen has no event
  expect(performance.eventLoopUtilization(before).utilization).toBeLessThan(0.5)
})
