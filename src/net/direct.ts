/**
 * Nodes that met through a relay connect directly where their routers let them, and let go of the relay: what ran
 * over it is dialled again by whoever needs it, and goes the new way. A libp2p service.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Startable } from '@libp2p/interface'
import type { WebRTCTransportComponents } from '@libp2p/webrtc'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { NetError } from './errors.ts'

/** Some ten round trips, and a second where a packet is lost. */
const CONNECT_MS = 5_000
/** On fast networks libdatachannel may begin to encrypt before it knows whom to trust, and gives up. */
const ATTEMPTS = 2

/** Hops dial a stream once more that has lasted for a second; what breaks sooner goes through the consumer. */
const LET_GO_MS = 2_000

type Components = Pick<WebRTCTransportComponents, 'transportManager' | 'events' | 'logger'>

export function direct(): (components: Components) => Startable {
  return (components) => new Direct(components)
}

class Direct implements Startable {
  readonly #components: Components
  readonly #life = new AbortController()

  constructor(components: Components) {
    this.#components = components
  }

  start(): void {
    this.#components.events.addEventListener('connection:open', this.#onOpen)
  }

  stop(): void {
    this.#components.events.removeEventListener('connection:open', this.#onOpen)
    this.#life.abort()
  }

  readonly #onOpen = ({ detail: connection }: CustomEvent<Connection>): void => {
    const isRelayed = connection.remoteAddr.toString().includes('/p2p-circuit/p2p/')
    // Whoever dialled begins. What throws is the relayed connection, when its way to the relay is gone.
    if (isRelayed && connection.direction === 'outbound') void this.#replace(connection).catch(() => {})
  }

  async #replace(relayed: Connection): Promise<void> {
    const address = multiaddr(relayed.remoteAddr.toString().replace('/p2p-circuit/', '/p2p-circuit/webrtc/'))
    let direct: Connection | undefined
    for (let left = ATTEMPTS; left > 0 && direct === undefined && relayed.status === 'open'; left--) {
      direct = await this.#connect(address)
    }
    if (direct === undefined) return
    await delay(LET_GO_MS, undefined, { signal: this.#life.signal, ref: false }).catch(() => {})
    if (direct.status === 'open') relayed.abort(new NetError('CLOSED', 'a direct connection takes over'))
  }

  async #connect(address: Multiaddr): Promise<Connection | undefined> {
    const { transportManager, logger } = this.#components
    const signal = AbortSignal.any([this.#life.signal, AbortSignal.timeout(CONNECT_MS)])
    try {
      // Not the connection manager: its dial to this peer, which has just given the relayed one, is not over yet.
      return await transportManager.dial(address, { signal })
    } catch (error) {
      logger.forComponent('shoal:direct')('no direct connection by %a - %e', address, error)
      return undefined
    }
  }
}
