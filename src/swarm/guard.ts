import { type Clock, Limits } from '../common/index.ts'
import type { SwarmHost } from '../net/index.ts'
import { ALL_NEIGHBOURS, FLOOD, GARBAGE, NEIGHBOUR } from './limits.ts'

/** Long enough to be no use to an attacker, short enough for somebody who had to mend something. */
const CUT_MS = 10 * 60_000

/** Who may say how much to this node, and who is cut off. */
export class Guard {
  readonly #clock: Clock
  readonly #network: Pick<SwarmHost, 'cut'>
  readonly #heard: Limits
  readonly #all: Limits
  readonly #floods: Limits
  readonly #garbage: Limits
  /** Its last messages may still be on their way. */
  readonly #cutUntil = new Map<string, number>()

  constructor(clock: Clock, network: Pick<SwarmHost, 'cut'>) {
    this.#clock = clock
    this.#network = network
    this.#heard = new Limits(clock, NEIGHBOUR)
    this.#all = new Limits(clock, ALL_NEIGHBOURS)
    this.#floods = new Limits(clock, FLOOD)
    this.#garbage = new Limits(clock, GARBAGE)
  }

  /** Whether to look at one more message from this neighbour. */
  admits(peer: string): boolean {
    if (this.isCut(peer)) return false
    if (!this.#floods.take(peer)) this.#cut(peer, 'it floods the swarm')
    return this.#heard.take(peer) && this.#all.take('')
  }

  /** It sent what no honest node sends. */
  garbage(peer: string, error: Error): void {
    if (!this.isCut(peer) && !this.#garbage.take(peer)) this.#cut(peer, `it sends garbage: ${error.message}`)
  }

  isCut(peer: string): boolean {
    return (this.#cutUntil.get(peer) ?? Number.NEGATIVE_INFINITY) > this.#clock.now()
  }

  #cut(peer: string, reason: string): void {
    const now = this.#clock.now()
    for (const [other, until] of this.#cutUntil) if (until <= now) this.#cutUntil.delete(other)
    this.#cutUntil.set(peer, now + CUT_MS)
    this.#network.cut(peer, reason, CUT_MS)
  }
}
