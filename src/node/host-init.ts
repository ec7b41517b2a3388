/** What of a node's settings its place on the network follows from. */
import { isIPv4 } from 'node:net'
import { join } from 'node:path'
import { multiaddr } from '@multiformats/multiaddr'
import { ShoalError } from '../common/index.ts'
import { dialScope, type HostInit, ownAddresses } from '../net/index.ts'
import { peerLists } from './membership.ts'
import type { NodeSettings } from './settings.ts'
import type { SwarmFile } from './swarm-file.ts'

/** Only this machine can connect until swarms are joined on purpose. */
const LOOPBACK = ['/ip4/127.0.0.1/tcp/0']
/** Beside the API's 8642. */
const PORT = 8643
/** Where a node is reached that has joined a swarm, as far as its own network goes. */
export function likelyAddresses(): string[] {
  const hosts = ownAddresses().filter((host) => isIPv4(host) && !host.startsWith('127.'))
  return hosts.map((host) => `/ip4/${host}/tcp/${PORT}`)
}

const EVERYWHERE = [
  `/ip4/0.0.0.0/tcp/${PORT}`,
  `/ip6/::/tcp/${PORT}`,
  `/ip4/0.0.0.0/tcp/${PORT + 1}/ws`,
  `/ip4/0.0.0.0/udp/${PORT}/webrtc-direct`
]
/** All that helps others to reach this node, and it to help others. Not DCUtR: docs/NAT.md says why. */
const NAT = { relay: true, useRelays: true, webrtc: true, upnp: true, autonat: true }
/** For who only asks. */
const NAT_OUTWARDS = { webrtc: true }

export function checkAddress(address: string): void {
  try {
    multiaddr(address)
  } catch (cause) {
    const message = `${address} is no address of a node: it must be a multiaddr, such as /ip4/127.0.0.1/tcp/8643.`
    throw new ShoalError('ADDRESS', message, { cause })
  }
}

/** By default. */
export function listenOn({ listen, offline }: NodeSettings, { kind }: SwarmFile): readonly string[] {
  if (listen !== undefined) return offline ? listen.filter(isLoopback) : listen
  if (kind === 'local' || offline) return LOOPBACK
  // WebRTC Direct has no handshake that a pre-shared key could protect.
  return kind === 'public' ? EVERYWHERE : EVERYWHERE.filter((address) => !address.includes('webrtc-direct'))
}

/** What was joined decides what is dialled. */
export function hostInit(settings: NodeSettings, joined: SwarmFile): HostInit {
  const { dataDir, ephemeral, logger } = settings
  const listen = listenOn(settings, joined)
  const isAlone = staysHere(settings, joined)
  return {
    identity: ephemeral ? { ephemeral: true } : { keyPath: join(dataDir, 'identity.key') },
    listen: [...listen],
    dialGate: dialScope(isAlone ? 'loopback' : 'any'),
    gate: peerLists(joined),
    ...(joined.kind === 'private' ? { preSharedKey: joined.key } : {}),
    ...(isAlone ? {} : { kademlia: true, mdns: true, nat: listen.length > 0 ? NAT : NAT_OUTWARDS }),
    ...(logger === undefined ? {} : { logger })
  }
}

/** Nothing has been joined, or the node listens on this machine only: then it looks for nobody elsewhere. */
export function staysHere({ listen, offline }: NodeSettings, { kind }: SwarmFile): boolean {
  return (
    offline === true ||
    kind === 'local' ||
    (listen !== undefined && listen.length > 0 && listen.every(isLoopback))
  )
}

function isLoopback(address: string): boolean {
  return /^\/(ip4\/127\.|ip6\/::1\/)/.test(address)
}
