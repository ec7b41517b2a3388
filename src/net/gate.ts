// Who this node has connections with: asked by libp2p at every step of a connection, both ways.
import type { ConnectionGater, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Libp2p } from 'libp2p'
import type { Clock } from '../common/index.ts'
import type { PeerLists } from './types.ts'

/** Inbound, from one IPv4 /24 or IPv6 /48: a household or a small office, but no cheap way to fill all places. */
const MAX_PER_SUBNET = 32
/** Peers that are cut at once; beyond it the one cut first is let in again. */
const MAX_CUT = 4_096

export class Gate {
  readonly #mayDial: (address: string) => boolean
  readonly #lists: PeerLists
  readonly #clock: Clock
  /** Until when. */
  readonly #cut = new Map<string, number>()
  #libp2p: Libp2p | undefined

  constructor(clock: Clock, mayDial: (address: string) => boolean, lists: PeerLists = {}) {
    this.#clock = clock
    this.#mayDial = mayDial
    this.#lists = lists
  }

  /** Whose connections to count. */
  watch(libp2p: Libp2p): void {
    this.#libp2p = libp2p
  }

  cut(peer: string, ms: number): void {
    this.#cut.delete(peer)
    this.#cut.set(peer, this.#clock.now() + ms)
    if (this.#cut.size > MAX_CUT) this.#cut.delete(this.#cut.keys().next().value as string)
  }

  mayDial(address: string): boolean {
    return this.#mayDial(address)
  }

  refuses(peer: string): boolean {
    const until = this.#cut.get(peer)
    if (until !== undefined && until > this.#clock.now()) return true
    this.#cut.delete(peer)
    const { allow, block } = this.#lists
    return block?.has(peer) === true || allow?.has(peer) === false
  }

  forLibp2p(): ConnectionGater {
    const refuses = (peer: PeerId) => this.refuses(peer.toString())
    return {
      denyDialPeer: refuses,
      denyDialMultiaddr: (address) => !this.#mayDial(address.toString()),
      denyInboundConnection: (connection) => this.#isCrowded(connection.remoteAddr),
      denyInboundEncryptedConnection: (peer, { remoteAddr }) => refuses(peer) || this.#isCrowded(remoteAddr),
      denyOutboundEncryptedConnection: refuses,
      denyInboundRelayReservation: refuses,
      denyOutboundRelayedConnection: (from, to) => refuses(from) || refuses(to),
      denyInboundRelayedConnection: (_, peer) => refuses(peer)
    }
  }

  #isCrowded(address: Multiaddr): boolean {
    const subnet = subnetOf(address)
    if (subnet === undefined) return false
    const inbound = this.#libp2p?.getConnections().filter(({ direction }) => direction === 'inbound') ?? []
    return inbound.filter(({ remoteAddr }) => subnetOf(remoteAddr) === subnet).length >= MAX_PER_SUBNET
  }
}

/** Undefined for loopback addresses, and where the address is a relay's: it bounds what goes through it. */
export function subnetOf(address: Multiaddr): string | undefined {
  const [first, ...rest] = address.getComponents()
  if (first === undefined || rest.some(({ name }) => name === 'p2p-circuit')) return undefined
  const bytes = Buffer.from(address.bytes)
  if (first.name === 'ip4') return bytes[1] === 127 ? undefined : bytes.toString('hex', 1, 4)
  if (first.name !== 'ip6') return undefined
  const ip = bytes.toString('hex', 1, 17)
  if (ip.startsWith('00000000000000000000ffff')) return ip.slice(24, 30) // an IPv4 address on an IPv6 socket
  return ip === '00000000000000000000000000000001' ? undefined : ip.slice(0, 12)
}
