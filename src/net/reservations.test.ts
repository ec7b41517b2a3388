import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { loadIdentity } from './identity.ts'
import { createNode } from './libp2p.ts'
import { reservations } from './reservations.ts'

const HOP = '/libp2p/circuit/relay/0.2.0/hop'
const LOOK_MS = 3_000

let listening: Multiaddr[]
let asked: string[]
let service: ReturnType<ReturnType<typeof reservations>>

beforeEach(async () => {
  vi.useFakeTimers()
  listening = [multiaddr('/ip4/192.168.1.5/tcp/1')]
  asked = []
  const connections = [
    { remotePeer: 'none', protocols: [] },
    { remotePeer: 'relayed', protocols: [HOP], limits: {} },
    { remotePeer: 'full', protocols: [HOP] },
    { remotePeer: 'free', protocols: [HOP] },
    { remotePeer: 'spare', protocols: [HOP] }
  ]
  const addRelay = async (peer: string): Promise<void> => {
    asked.push(peer)
    if (peer === 'full') throw new Error('no place')
    listening.push(
      multiaddr('/ip4/8.8.8.8/tcp/1/p2p/12D3KooWGSmmKdFNPiGnY4DzfkTQy6LAZnB9FmGtcNXmtKeMqRvC/p2p-circuit')
    )
  }
  const parts = {
    connectionManager: { getConnections: () => connections },
    peerStore: { get: async (peer: string) => connections.find(({ remotePeer }) => remotePeer === peer) },
    transportManager: {
      getAddrs: () => listening,
      getTransports: () => [{ name: 'tcp' }, { reservationStore: { addRelay } }]
    }
  }
  service = reservations()(parts as unknown as Parameters<ReturnType<typeof reservations>>[0])
  await service.start()
})

afterEach(async () => {
  await service.stop()
  vi.useRealTimers()
})

test('relays are asked until one has a place, and again when it is lost', async () => {
  await vi.advanceTimersByTimeAsync(LOOK_MS)
  expect(asked).toEqual(['full', 'free'])
  await vi.advanceTimersByTimeAsync(10 * LOOK_MS)
  expect(asked).toEqual(['full', 'free'])
  listening.pop()
  await vi.advanceTimersByTimeAsync(LOOK_MS)
  expect(asked).toEqual(['full', 'free', 'full', 'free'])
})

test("libp2p's relay transport has what is reached for", async () => {
  const [privateKey, nat] = [loadIdentity({ ephemeral: true }), { useRelays: true }]
  const node = await createNode({ privateKey, listen: [], mayDial: () => false, nat })
  const { transportManager } = (
    node as unknown as { components: Parameters<ReturnType<typeof reservations>>[0] }
  ).components
  const found = transportManager.getTransports().find((each) => 'reservationStore' in each)
  expect(found).toHaveProperty('reservationStore.addRelay', expect.any(Function))
})
