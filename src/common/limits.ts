import type { Clock } from './clock.ts'

export interface Rate {
  readonly burst: number
  /** One more after each. */
  readonly everyMs: number
}

/** Some megabytes: whoever comes with that many identities was slowed down on the way. */
const MAX_KEYS = 32_768

/**
 * So much at once, and so much over time, for each of many: token buckets, each kept as the moment at which it is
 * full again (the "generic cell rate algorithm" of ATM networks).
 */
export class Limits {
  readonly #clock: Clock
  readonly #rate: Rate
  readonly #fullAt = new Map<string, number>()

  constructor(clock: Clock, rate: Rate) {
    this.#clock = clock
    this.#rate = rate
  }

  /** False: not now, and it costs nothing. */
  take(key: string): boolean {
    if (this.waitMs(key) > 0) return false
    const fullAt = Math.max(this.#fullAt.get(key) ?? -Infinity, this.#clock.now()) + this.#rate.everyMs
    this.#fullAt.set(key, fullAt)
    if (this.#fullAt.size > MAX_KEYS) this.#sweep()
    return true
  }

  /** How long until it may be taken. */
  waitMs(key: string): number {
    const { burst, everyMs } = this.#rate
    return Math.max((this.#fullAt.get(key) ?? -Infinity) - this.#clock.now() - (burst - 1) * everyMs, 0)
  }

  /** At most half stay, so that sweeping costs little per key: those of whom there is most to remember. */
  #sweep(): void {
    const now = this.#clock.now()
    const byFullAt = [...this.#fullAt].toSorted(([, one], [, other]) => one - other)
    for (const [key, fullAt] of byFullAt) {
      if (fullAt <= now || this.#fullAt.size > MAX_KEYS / 2) this.#fullAt.delete(key)
    }
  }
}
