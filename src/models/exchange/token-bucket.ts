import type { Clock } from '../../common/index.ts'

/** What may be sent at once after a pause: timers are late by some milliseconds, and that must not cost speed. */
const BURST_SECONDS = 0.1

/**
 * So many bytes per second. Whoever takes may go below zero, and then waits, so that what is taken needs no bound; the
 * rate may change at any time.
 */
export class TokenBucket {
  readonly #clock: Clock
  #rate: number
  #level = 0
  #at: number

  /** Bytes per second, or Infinity. */
  constructor(clock: Clock, rate: number) {
    this.#clock = clock
    this.#rate = rate
    this.#at = clock.now()
  }

  get rate(): number {
    return this.#rate
  }

  set rate(rate: number) {
    this.#fill()
    this.#rate = rate
    this.#level = Math.min(this.#level, 0)
  }

  take(bytes: number): void {
    if (this.#rate === Number.POSITIVE_INFINITY) return
    this.#fill()
    this.#level -= bytes
  }

  /** Until somebody may take again. */
  get waitMs(): number {
    if (this.#rate === Number.POSITIVE_INFINITY) return 0
    this.#fill()
    return this.#level > 0 ? 0 : Math.max(1, Math.ceil((-this.#level / this.#rate) * 1000))
  }

  #fill(): void {
    const now = this.#clock.now()
    const seconds = (now - this.#at) / 1000
    this.#at = now
    if (this.#rate === Number.POSITIVE_INFINITY) this.#level = 0
    else this.#level = Math.min(this.#level + seconds * this.#rate, BURST_SECONDS * this.#rate)
  }
}
