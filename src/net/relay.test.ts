import type { Libp2pEvents } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { relay } from './relay.ts'

const HOP = '/libp2p/circuit/relay/0.2.0/hop'
const log = Object.assign(() => {}, { error: () => {}, trace: () => {}, newScope: () => log })

let events: EventTarget
let listening: Multiaddr[]
let confirmed: Multiaddr[]
let handled: Set<string>
let service: ReturnType<ReturnType<typeof relay>>

/** The parts of libp2p that it uses. */
function components(): Parameters<ReturnType<typeof relay>>[0] {
  const registrar = {
    handle: vi.fn(async (protocol: string) => void handled.add(protocol)),
    unhandle: vi.fn(async (protocol: string) => void handled.delete(protocol))
  }
  const parts = {
    ...{ events, registrar, logger: { forComponent: () => log } },
    addressManager: { getAddresses: () => confirmed },
    transportManager: { getAddrs: () => listening }
  }
  return parts as unknown as ReturnType<typeof components>
}

beforeEach(async () => {
  events = new EventTarget()
  handled = new Set()
  listening = []
  confirmed = []
  service = relay({})(components())
  await service.start()
})

afterEach(async () => {
  await service.stop()
  expect(handled).toEqual(new Set())
})

async function happens(event: keyof Libp2pEvents): Promise<void> {
  events.dispatchEvent(new Event(event))
  await new Promise(setImmediate) // it starts and stops in microtasks
}

test('a node relays from when others have dialled it, until they no longer can', async () => {
  listening = ['/ip4/127.0.0.1/tcp/1', '/ip4/192.168.1.5/tcp/1'].map(multiaddr)
  confirmed = listening
  await happens('transport:listening')
  expect(handled).toEqual(new Set())
  confirmed = [...listening, multiaddr('/ip4/8.8.4.4/tcp/1')]
  await happens('self:peer:update')
  expect(handled).toEqual(new Set([HOP]))
  confirmed = listening
  await happens('self:peer:update')
  expect(handled).toEqual(new Set())
})

test('a relay that a node has itself makes it none', async () => {
  const peer = '/p2p/12D3KooWGSmmKdFNPiGnY4DzfkTQy6LAZnB9FmGtcNXmtKeMqRvC'
  listening = ['/ip4/192.168.1.5/tcp/1', `/ip4/8.8.8.8/tcp/1${peer}/p2p-circuit`].map(multiaddr)
  confirmed = listening
  await happens('self:peer:update')
  expect(handled).toEqual(new Set())
})

test('on one machine everybody reaches all', async () => {
  listening = ['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1'].map(multiaddr)
  await happens('transport:listening')
  expect(handled).toEqual(new Set([HOP]))
})
