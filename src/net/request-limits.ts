// What one peer may ask of this node, and when it has asked too much.
import { type Clock, Limits } from '../common/index.ts'

/** A newcomer asks several things at once; later, a consumer asks for the load of a few stages per session. */
const REQUESTS = { burst: 64, everyMs: 1000 / 16 }
/** 256 refused within 10 s: a loop without a pause, not a busy consumer. */
const REFUSALS = { burst: 256, everyMs: 10_000 / 256 }

export class RequestLimits {
  readonly #requests: Limits
  readonly #refusals: Limits
  readonly #onFlood: (peer: string) => void

  constructor(clock: Clock, onFlood: (peer: string) => void) {
    this.#requests = new Limits(clock, REQUESTS)
    this.#refusals = new Limits(clock, REFUSALS)
    this.#onFlood = onFlood
  }

  /** False: not now. A peer that goes on regardless is a flood. */
  admits(peer: string): boolean {
    if (this.#requests.take(peer)) return true
    if (!this.#refusals.take(peer)) this.#onFlood(peer)
    return false
  }
}
