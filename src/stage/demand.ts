import { type Clock, systemClock } from '../common/index.ts'

/** How far back it looks: long enough to be steady, short enough to follow an evening. */
const MEMORY_MS = 10 * 60_000
/**
 * What is left of one request after three memories. Many nodes share what a model is asked for: if each forgot its part
 * sooner, a model would seem to be asked for less the more nodes host it, and they would come and go.
 */
const LEAST = 1 / 16

/** How often something is asked for lately. */
export class Demand {
  readonly #clock: Pick<Clock, 'now'>
  /** Decays with e to the MEMORY_MS. */
  #count = 0
  #at = 0

  constructor(clock: Pick<Clock, 'now'> = systemClock) {
    this.#clock = clock
  }

  add(): void {
    this.#count = this.#decayed() + 1
    this.#at = this.#clock.now()
  }

  /** Rounded to powers of two, since everybody is told when it changes. */
  get perMinute(): number {
    const count = this.#decayed()
    return count < LEAST ? 0 : (2 ** Math.round(Math.log2(count)) * 60_000) / MEMORY_MS
  }

  #decayed(): number {
    return this.#count * Math.exp((this.#at - this.#clock.now()) / MEMORY_MS)
  }
}
