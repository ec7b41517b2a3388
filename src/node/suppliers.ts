/** Peers that have pieces of what is being fetched: found, and connected with as they come. */
import { type Clock, ShoalError } from '../common/index.ts'
import type { Exchange } from '../models/index.ts'
import type { PeerAddress } from '../net/index.ts'
import { pause } from './pause.ts'

/** Between looks, doubled each time: who comes late is found, too. */
const FIRST_LOOK_MS = 100
const LONGEST_LOOK_MS = 4_000
/** Asked for pieces of one model at once. */
const MAX_PEERS = 16
/** Of one peer. */
const OPEN_MS = 10_000
/** Peers cost nobody's server anything: they are given this time to be found before one is asked. */
const PEERS_FIRST_MS = 3_000
/** Some nodes are connected, but none of them knows anybody who has the model. */
const NOBODY_MS = 15_000

export interface SuppliersComponents {
  readonly exchange: Pick<Exchange, 'open' | 'peersOf'>
  readonly clock: Clock
  readonly suppliers: (id: string) => readonly PeerAddress[]
  readonly isAlone: () => boolean
}

export interface SeekOptions {
  /** Others than peers have it, too. */
  readonly hasSource: boolean
  readonly signal: AbortSignal
  /** With a ShoalError NO_SOURCE where it has no source, and no peer is found. */
  readonly onNobody: (error: Error) => void
}

export class Suppliers {
  readonly #components: SuppliersComponents

  constructor(components: SuppliersComponents) {
    this.#components = components
  }

  /** How many are connected. */
  of(id: string): number {
    return this.#components.exchange.peersOf(id).length
  }

  /**
   * Opens streams with peers that have the model, until the signal fires. Resolves when the first are there, or were
   * given time enough. Throws the signal's reason.
   */
  async seek(id: string, options: SeekOptions): Promise<void> {
    const { clock, isAlone } = this.#components
    const { signal } = options
    const until = clock.now() + PEERS_FIRST_MS
    void this.#look(id, options).catch(() => {}) // it ended
    while (this.of(id) === 0 && !isAlone() && clock.now() < until) await pause(clock, FIRST_LOOK_MS, signal)
  }

  async #look(id: string, { hasSource, signal, onNobody }: SeekOptions): Promise<void> {
    const { clock, exchange, suppliers, isAlone } = this.#components
    const begun = clock.now()
    let hadAny = false
    for (let wait = FIRST_LOOK_MS; !signal.aborted; wait = Math.min(2 * wait, LONGEST_LOOK_MS)) {
      const linked = exchange.peersOf(id)
      const others = suppliers(id).filter(({ peer }) => !linked.includes(peer))
      hadAny ||= linked.length + others.length > 0
      for (const { peer, addresses } of others.slice(0, Math.max(MAX_PEERS - linked.length, 0))) {
        const limit = AbortSignal.any([signal, AbortSignal.timeout(OPEN_MS)])
        void exchange.open(peer, [...addresses], id, limit).catch(() => {}) // others may
      }
      if (!hasSource && !hadAny && (isAlone() || clock.now() - begun > NOBODY_MS)) onNobody(nobody(isAlone()))
      await pause(clock, wait, signal)
    }
  }
}

function nobody(isAlone: boolean): ShoalError {
  const why = isAlone ? 'no other node answers' : 'no node that is known has any of it'
  const advice = 'Name a node that has it with --peer ADDRESS, or name the model by its address.'
  return new ShoalError(
    'NO_SOURCE',
    `The model can't be fetched: nobody says where it is, and ${why}. ${advice}`
  )
}
