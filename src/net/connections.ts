// Connections that there are, and new ones: dialled only where the gate lets them through.
import type { Connection, PeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { NetError } from './errors.ts'
import type { Gate } from './gate.ts'
import { HANDSHAKE_TIMEOUT_MS, type Libp2pNode, MAX_DIAL_ADDRESSES } from './libp2p.ts'
import { MAX_UNSENT_BYTES } from './protocols.ts'
import { RawStream } from './raw-stream.ts'

export type Protocol = keyof typeof MAX_UNSENT_BYTES

export class Connections {
  readonly #libp2p: Libp2pNode
  readonly #gate: Gate

  constructor(libp2p: Libp2pNode, gate: Gate) {
    this.#libp2p = libp2p
    this.#gate = gate
  }

  /** A new stream. Uses an open connection to the peer, else dials the addresses. */
  async open(
    protocol: Protocol,
    peer: string,
    addresses: string[],
    signal?: AbortSignal
  ): Promise<RawStream> {
    const open = this.to(peer)[0]
    const connection = open ?? (await this.dial(addresses, peer, signal))
    try {
      const stream = await connection.newStream(protocol, {
        signal: withDeadline(signal),
        runOnLimitedConnection: true
      })
      return new RawStream(stream, peer, MAX_UNSENT_BYTES[protocol])
    } catch (cause) {
      throw dialFailed(`${peer} did not open ${protocol}`, cause)
    }
  }

  /** Open connections to the peer, direct ones before those through relays. */
  to(peer: string): Connection[] {
    return directFirst(this.#libp2p.getConnections(parsePeer(peer)))
  }

  /** Whoever answers, where no peer is named. */
  async dial(addresses: string[], peer?: string, signal?: AbortSignal): Promise<Connection> {
    try {
      const dialable = this.#dialable(addresses, peer)
      const open = this.#relayed(dialable)
      return open ?? (await this.#libp2p.dial(dialable, { signal: withDeadline(signal) }))
    } catch (cause) {
      if (cause instanceof NetError) throw cause
      throw dialFailed(`cannot reach ${peer ?? addresses.join(', ')}`, cause)
    }
  }

  /** The connection there is, where only relays lead to the peer: libp2p would make one more at every dial. */
  #relayed(addresses: Multiaddr[]): Connection | undefined {
    if (!addresses.every((address) => address.toString().includes('/p2p-circuit/'))) return undefined
    const peer = peerOf(addresses[0])
    return peer === undefined ? undefined : this.to(peer)[0]
  }

  /** Those that parse, are of the peer and that the gate lets through; the gate is asked again by libp2p. */
  #dialable(addresses: string[], peer?: string): Multiaddr[] {
    const denied: string[] = []
    const parsed = addresses.slice(0, MAX_DIAL_ADDRESSES).flatMap((address) => {
      try {
        const whole = multiaddr(peer === undefined ? address : withPeer(address, peer))
        const answers = peerOf(whole)
        if (peer !== undefined && answers !== peer) return [] // libp2p would take whoever answers there
        if (answers !== undefined && this.#gate.refuses(answers)) {
          throw new NetError('DIAL_DENIED', `${answers} is not let in here`)
        }
        if (this.#gate.mayDial(whole.toString())) return [whole]
      } catch (error) {
        if (error instanceof NetError) throw error
        // Not an address of a kind that we know: what newer nodes have.
      }
      denied.push(address)
      return []
    })
    if (parsed.length > 0) return parsed
    const what = denied.length > 0 ? `may not dial ${denied.join(', ')}` : `know no address of ${peer}`
    throw new NetError('DIAL_DENIED', `${what}: join its swarm, or pass an address that this node may dial`)
  }
}

/** Those that are open; relays bound what goes through them, and for how long. */
export function directFirst(connections: Connection[]): Connection[] {
  const open = connections.filter(({ status }) => status === 'open')
  return open.sort((a, b) => Number(a.limits !== undefined) - Number(b.limits !== undefined))
}

/** Who answers at the address, as far as it says so. */
function peerOf(address: Multiaddr | undefined): string | undefined {
  return address?.getComponents().findLast(({ name }) => name === 'p2p')?.value
}

/** The address, with the peer named at its end. */
export function withPeer(address: string, peer: string): string {
  const last = address.split('/p2p-circuit').at(-1) as string
  return last.includes('/p2p/') ? address : `${address}/p2p/${peer}`
}

function withDeadline(signal: AbortSignal | undefined): AbortSignal {
  const deadline = AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS)
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline])
}

function parsePeer(peer: string): PeerId {
  try {
    return peerIdFromString(peer)
  } catch (cause) {
    throw new NetError('DIAL_FAILED', `${peer} is not a peer id`, { cause })
  }
}

function dialFailed(message: string, cause: unknown): NetError {
  return new NetError(
    'DIAL_FAILED',
    `${message}: ${cause instanceof Error ? cause.message : String(cause)}`,
    { cause }
  )
}
