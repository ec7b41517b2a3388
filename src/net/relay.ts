/**
 * Serves others as a relay for as long as others reach this node: whoever could only be reached through a node that
 * nobody reaches would be lost, and libp2p takes the first relay that it meets. A libp2p service.
 */
import {
  type CircuitRelayServerComponents,
  type CircuitRelayServerInit,
  type CircuitRelayService,
  circuitRelayServer
} from '@libp2p/circuit-relay-v2'
import { type PeerId, type Startable, start, stop } from '@libp2p/interface'
import { isLoopback, isPrivate } from '@libp2p/utils'
import type { WebRTCTransportComponents } from '@libp2p/webrtc'
import type { Multiaddr } from '@multiformats/multiaddr'

type Components = CircuitRelayServerComponents &
  Pick<WebRTCTransportComponents, 'events' | 'transportManager'>

export function relay(init: CircuitRelayServerInit): (components: Components) => Startable {
  return (components) => new Relay(components, init)
}

class Relay implements Startable {
  readonly #components: Components
  readonly #init: CircuitRelayServerInit
  #server: CircuitRelayService | undefined

  constructor(components: Components, init: CircuitRelayServerInit) {
    this.#components = components
    this.#init = init
  }

  start(): void {
    const { events } = this.#components
    events.addEventListener('transport:listening', this.#look)
    events.addEventListener('self:peer:update', this.#look)
    events.addEventListener('peer:disconnect', this.#forget)
  }

  async stop(): Promise<void> {
    const { events } = this.#components
    events.removeEventListener('transport:listening', this.#look)
    events.removeEventListener('self:peer:update', this.#look)
    events.removeEventListener('peer:disconnect', this.#forget)
    await stop(this.#server)
    this.#server = undefined
  }

  readonly #look = (): void => {
    const before = this.#server
    if (this.#isReached === (before !== undefined)) return
    this.#server = before === undefined ? circuitRelayServer(this.#init)(this.#components) : undefined
    void (before === undefined ? start(this.#server) : stop(before))
  }

  /** By anybody: libp2p lists public addresses when others have dialled them back. On loopback everybody is near. */
  get #isReached(): boolean {
    const { addressManager, transportManager } = this.#components
    const listening = transportManager.getAddrs().filter(isDirect)
    const isAlone = listening.length > 0 && listening.every(isLoopback)
    return (
      isAlone || addressManager.getAddresses().some((address) => isDirect(address) && !isPrivate(address))
    )
  }

  /** libp2p would keep its place for two hours. */
  readonly #forget = ({ detail: peer }: CustomEvent<PeerId>): void => {
    this.#server?.reservations.get(peer)?.signal.clear()
    this.#server?.reservations.delete(peer)
  }
}

function isDirect(address: Multiaddr): boolean {
  return !address.toString().includes('/p2p-circuit')
}
