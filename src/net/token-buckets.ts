// Token buckets, one per key: a burst at once, then a steady rate.
import type { Clock } from '../common/index.ts'

export interface Rate {
  burst: number
  perSecond: number
}

/** The least recently used are forgotten beyond this: some 100 KB. */
const MAX_KEYS = 1_024

export class TokenBuckets {
  readonly #rate: Rate
  readonly #clock: Clock
  /** In order of use, the latest last. */
  readonly #buckets = new Map<string, { tokens: number; at: number }>()

  constructor(clock: Clock, rate: Rate) {
    this.#clock = clock
    this.#rate = rate
  }

  /** False when the bucket is empty. */
  take(key: string): boolean {
    const { burst, perSecond } = this.#rate
    const now = this.#clock.now()
    const { tokens, at } = this.#buckets.get(key) ?? { tokens: burst, at: now }
    const filled = Math.min(burst, tokens + ((now - at) / 1000) * perSecond)
    const mayTake = filled >= 1
    this.#buckets.delete(key)
    this.#buckets.set(key, { tokens: mayTake ? filled - 1 : filled, at: now })
    if (this.#buckets.size > MAX_KEYS) this.#buckets.delete(this.#buckets.keys().next().value as string)
    return mayTake
  }
}
