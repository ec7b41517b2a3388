// What one peer may ask of this node, and when it has asked too much.
import type { Clock } from '../common/index.ts'
import { TokenBuckets } from './token-buckets.ts'

/** A newcomer asks several things at once; later, a consumer asks for the load of a few stages per session. */
const REQUESTS = { burst: 64, perSecond: 16 }
/** 256 refused within 10 s: a loop without a pause, not a busy consumer. */
const REFUSALS = { burst: 256, perSecond: 25.6 }

export class RequestLimits {
  readonly #requests: TokenBuckets
  readonly #refusals: TokenBuckets
  readonly #onFlood: (peer: string) => void

  constructor(clock: Clock, onFlood: (peer: string) => void) {
    this.#requests = new TokenBuckets(clock, REQUESTS)
    this.#refusals = new TokenBuckets(clock, REFUSALS)
    this.#onFlood = onFlood
  }

  /** False: not now. A peer that goes on regardless is a flood. */
  admits(peer: string): boolean {
    if (this.#requests.take(peer)) return true
    if (!this.#refusals.take(peer)) this.#onFlood(peer)
    return false
  }
}
