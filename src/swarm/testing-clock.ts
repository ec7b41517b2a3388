/** Time and chance for tests: neither is left to itself. */
import type { Clock } from '../common/index.ts'

/** 2026. */
const EPOCH_MS = 1_767_225_600_000

interface Timer {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

/** Time passes in `advance` only. */
export class ManualClock implements Clock {
  /** A binary heap: no timer is before its parent, at half its index. */
  readonly #timers: Timer[] = []
  #now = 0
  #count = 0

  now(): number {
    return this.#now
  }

  wall(): number {
    return EPOCH_MS + this.#now
  }

  after(ms: number, run: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(ms, 0), order: this.#count++, run }
    this.#push(timer)
    return () => {
      timer.run = undefined
    }
  }

  /** Runs what is due on the way, and what comes of it, each at its time. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await settled()
    for (let next = this.#timers[0]; next !== undefined && next.at <= end; next = this.#timers[0]) {
      this.#now = next.at
      while (this.#timers[0]?.at === next.at) this.#pop()?.run?.()
      await settled()
    }
    this.#now = end
  }

  #push(timer: Timer): void {
    const heap = this.#timers
    let index = heap.push(timer) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!isBefore(timer, heap[parent] as Timer)) break
      heap[index] = heap[parent] as Timer
      index = parent
    }
    heap[index] = timer
  }

  #pop(): Timer | undefined {
    const heap = this.#timers
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child += 1
      if (!isBefore(heap[child] as Timer, last)) break
      heap[index] = heap[child] as Timer
      index = child
    }
    heap[index] = last
    return first
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Promises that are resolved have run what waited for them. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Mulberry32: the same numbers for the same seed. */
export function randomOf(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
