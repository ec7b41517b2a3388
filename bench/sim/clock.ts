/** Simulated time: a slot for each millisecond, so that millions of timers cost no more than their memory. */
import type { Clock } from '../../src/common/index.ts'

/** 2026. */
const EPOCH_MS = 1_767_225_600_000

export interface Work {
  /** Undefined: called off. */
  run: (() => void) | undefined
}

export class SimClock implements Clock {
  readonly #slots: (Work[] | undefined)[]
  #now = 0

  /** What is due later never happens. */
  constructor(endMs: number) {
    this.#slots = new Array(endMs + 1)
  }

  now(): number {
    return this.#now
  }

  wall(): number {
    return EPOCH_MS + this.#now
  }

  after(ms: number, run: () => void): () => void {
    const work: Work = { run }
    this.at(this.#now + ms, work)
    return () => {
      work.run = undefined
    }
  }

  at(ms: number, work: Work): void {
    const slot = Math.max(this.#now, Math.ceil(ms))
    if (slot >= this.#slots.length) return
    const works = this.#slots[slot]
    if (works === undefined) this.#slots[slot] = [work]
    else works.push(work)
  }

  /** Runs what is due, and what comes of it, promises included. */
  async runUntil(endMs: number): Promise<void> {
    for (; this.#now < endMs; this.#now++) {
      const works = this.#slots[this.#now]
      if (works === undefined) continue
      for (let index = 0; index < works.length; ) {
        while (index < works.length) works[index++]?.run?.()
        await settled()
      }
      this.#slots[this.#now] = undefined
    }
  }
}

/** One machine's: wrong by `skewMs`, and nothing happens any more when the machine is gone. */
export class NodeClock implements Clock {
  readonly #clock: Clock
  readonly #skewMs: number
  isRunning = true

  constructor(clock: Clock, skewMs: number) {
    this.#clock = clock
    this.#skewMs = skewMs
  }

  now(): number {
    return this.#clock.now()
  }

  wall(): number {
    return this.#clock.wall() + this.#skewMs
  }

  after(ms: number, run: () => void): () => void {
    return this.#clock.after(ms, () => {
      if (this.isRunning) run()
    })
  }
}

/** Promises that are resolved have run what waited for them. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
