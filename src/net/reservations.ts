/**
 * Keeps a place at a relay. libp2p asks each relay once, when it meets it, and may do so over a connection that
 * AutoNAT has opened to try an address and is about to close; the place goes with it. Here relays are asked again for
 * as long as there is no place. A libp2p service.
 */
import { type CircuitRelayTransportComponents, RELAY_V2_HOP_CODEC } from '@libp2p/circuit-relay-v2'
import type { PeerId, Startable } from '@libp2p/interface'

/** Nobody reaches this node meanwhile; and it costs a look into two lists. */
const LOOK_MS = 3_000

/** The parts of libp2p 3.3's relay transport that are of use here. */
interface RelayTransport {
  reservationStore: { addRelay(peer: PeerId, type: 'discovered'): Promise<unknown> }
}

type Components = Pick<
  CircuitRelayTransportComponents,
  'connectionManager' | 'peerStore' | 'transportManager'
>

export function reservations(): (components: Components) => Startable {
  return (components) => new Reservations(components)
}

class Reservations implements Startable {
  readonly #components: Components
  #timer: NodeJS.Timeout | undefined

  constructor(components: Components) {
    this.#components = components
  }

  start(): void {
    this.#timer = setInterval(() => void this.#look(), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    const { connectionManager, transportManager } = this.#components
    const transport = transportManager.getTransports().find((each) => 'reservationStore' in each)
    const { reservationStore } = transport as unknown as RelayTransport
    for (const { remotePeer, limits } of connectionManager.getConnections()) {
      if (transportManager.getAddrs().some((address) => address.toString().includes('/p2p-circuit'))) return
      if (limits !== undefined || !(await this.#isRelay(remotePeer))) continue
      await reservationStore.addRelay(remotePeer, 'discovered').catch(() => {}) // it is full, or gone
    }
  }

  async #isRelay(peer: PeerId): Promise<boolean> {
    const known = await this.#components.peerStore.get(peer).catch(() => undefined)
    return known?.protocols.includes(RELAY_V2_HOP_CODEC) === true
  }
}
