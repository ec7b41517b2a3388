/**
 * Tells whoever asks how its address looks from here (STUN, RFC 8489, binding requests only). Nodes behind routers
 * need it before they can connect directly; a node that relays for them answers it, too, so that nobody has to ask
 * a third party's server.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIP, isIPv6 } from 'node:net'
import type { Connection, Listener } from '@libp2p/interface'
import { isPrivate, tryGetNetConfig } from '@libp2p/utils'
import type { WebRTCTransportComponents } from '@libp2p/webrtc'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import type { Startable } from '../common/index.ts'

const BINDING_REQUEST = 0x0001
const BINDING_RESPONSE = 0x0101
const XOR_MAPPED_ADDRESS = 0x0020
const MAGIC = 0x2112a442
const HEADER_BYTES = 20
/** STUN's own. It is the same for all nodes of a machine, since they see the same; one of them has it. */
const STUN_PORT = 3478
/** One that answers is enough; libp2p warns of more than four. */
const MAX_SERVERS = 4

type Connected = Pick<Connection, 'remoteAddr' | 'direction'>
type Components = Pick<WebRTCTransportComponents, 'events' | 'logger'>

/** A libp2p service: answers at the addresses that the node listens on. */
export function stun(): (components: Components) => Startable {
  return (components) => new StunService(components)
}

class StunService implements Startable {
  readonly #components: Components
  readonly #servers = new Map<string, StunServer>()

  constructor(components: Components) {
    this.#components = components
  }

  async start(): Promise<void> {
    this.#components.events.addEventListener('transport:listening', this.#onListening)
  }

  async stop(): Promise<void> {
    this.#components.events.removeEventListener('transport:listening', this.#onListening)
    await Promise.all([...this.#servers.values()].map((server) => server.stop()))
    this.#servers.clear()
  }

  readonly #onListening = ({ detail: listener }: CustomEvent<Listener>): void => {
    for (const address of listener.getAddrs().filter((each) => !isRelayed(each))) {
      const { host = '' } = tryGetNetConfig(address) ?? {}
      if (isIP(host) === 0 || this.#servers.has(host)) continue
      const server = new StunServer(host, STUN_PORT)
      this.#servers.set(host, server)
      // Somebody else answers there, and says the same.
      server
        .start()
        .catch((error) => this.#components.logger.forComponent('shoal:stun')('%s - %e', host, error))
    }
  }
}

/** STUN servers for somebody with these connections: the relays that they go through, then who else was dialled. */
export function stunServers(connections: readonly Connected[]): { urls: string }[] {
  const relayed = connections.filter(({ remoteAddr }) => isRelayed(remoteAddr))
  const dialled = connections.filter((each) => each.direction === 'outbound' && !isPrivate(each.remoteAddr))
  const hosts = [...relayed, ...dialled].flatMap(({ remoteAddr }) => tryGetNetConfig(remoteAddr)?.host ?? [])
  const some = [...new Set(hosts)].slice(0, MAX_SERVERS)
  return some.map((host) => ({ urls: `stun:${isIPv6(host) ? `[${host}]` : host}:${STUN_PORT}` }))
}

function isRelayed(address: Multiaddr): boolean {
  return address.toString().includes('/p2p-circuit')
}

/** Answers on UDP `port` of `address`. */
export class StunServer implements Startable {
  readonly #address: string
  readonly #port: number
  #socket: Socket | undefined

  constructor(address: string, port: number) {
    this.#address = address
    this.#port = port
  }

  /** Rejects when the port is taken. */
  async start(): Promise<void> {
    const isV6 = isIPv6(this.#address)
    const socket = createSocket({ type: isV6 ? 'udp6' : 'udp4', ...(isV6 ? { ipv6Only: true } : {}) })
    this.#socket = socket
    socket.on('message', (request, from) => {
      const answer = answerBinding(request, from)
      if (answer !== undefined) socket.send(answer, from.port, from.address, () => {}) // datagrams may be lost
    })
    socket.bind(this.#port, this.#address)
    await once(socket, 'listening')
    socket.on('error', () => {}) // of a datagram; the socket goes on
  }

  async stop(): Promise<void> {
    const socket = this.#socket
    this.#socket = undefined
    if (socket !== undefined) await new Promise<void>((resolve) => socket.close(resolve))
  }
}

/** Undefined for all that is not a binding request. The answer is at most twice as long as what was asked. */
export function answerBinding(
  request: Uint8Array,
  { address, port }: Pick<RemoteInfo, 'address' | 'port'>
): Uint8Array | undefined {
  if (request.byteLength < HEADER_BYTES) return undefined
  const asked = new DataView(request.buffer, request.byteOffset)
  if (asked.getUint16(0) !== BINDING_REQUEST || asked.getUint32(4) !== MAGIC) return undefined
  if (asked.getUint16(2) !== request.byteLength - HEADER_BYTES) return undefined
  const ip = ipBytes(address)
  const answer = new Uint8Array(HEADER_BYTES + 8 + ip.length)
  const view = new DataView(answer.buffer)
  answer.set(request.subarray(0, HEADER_BYTES)) // the magic and the transaction's id
  view.setUint16(0, BINDING_RESPONSE)
  view.setUint16(2, 8 + ip.length)
  view.setUint16(20, XOR_MAPPED_ADDRESS)
  view.setUint16(22, 4 + ip.length)
  view.setUint8(25, ip.length === 4 ? 1 : 2)
  view.setUint16(26, port ^ (MAGIC >>> 16))
  // Routers that rewrite addresses wherever they see them don't see this one.
  for (const [index, byte] of ip.entries()) answer[28 + index] = byte ^ (answer[4 + index] as number)
  return answer
}

function ipBytes(address: string): Uint8Array {
  const codeBytes = 1 // for both kinds
  return multiaddr(`/ip${isIPv6(address) ? 6 : 4}/${address}`).bytes.subarray(codeBytes)
}
