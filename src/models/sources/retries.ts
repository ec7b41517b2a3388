import { setTimeout as sleep } from 'node:timers/promises'
import { SourceError } from './errors.ts'

/** Doubled with each failure in a row, and shortened by up to a half so that many don't come back together. */
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000
/** Who is told to wait for longer hears of it, and may have another source. */
const LONGEST_RETRY_AFTER_MS = 120_000
/** In a row: about half a minute of trying. */
const MOST_FAILURES = 6

export interface RetryInit {
  readonly wait?: ((ms: number, signal: AbortSignal | undefined) => Promise<void>) | undefined
  /** In [0, 1). */
  readonly random?: (() => number) | undefined
}

/** Waits after failures that may pass, and gives up after some in a row. */
export class Retries {
  readonly #wait: NonNullable<RetryInit['wait']>
  readonly #random: () => number
  readonly #signal: AbortSignal | undefined
  #failures = 0

  constructor(init: RetryInit, signal: AbortSignal | undefined) {
    this.#wait = init.wait ?? ((ms, cancel) => sleep(ms, undefined, { signal: cancel }))
    this.#random = init.random ?? Math.random
    this.#signal = signal
  }

  /** There was progress: what fails from now on is counted anew. */
  reset(): void {
    this.#failures = 0
  }

  /** Resolves when it is time to try again; throws the error where that is of no use, or the signal's reason. */
  async after(error: unknown): Promise<void> {
    this.#signal?.throwIfAborted()
    if (!(error instanceof SourceError) || !error.isPassing) throw error
    this.#failures += 1
    const { retryAfterMs = 0 } = error
    if (this.#failures >= MOST_FAILURES || retryAfterMs > LONGEST_RETRY_AFTER_MS) throw error
    const longest = Math.min(FIRST_WAIT_MS * 2 ** (this.#failures - 1), LONGEST_WAIT_MS)
    const ms = Math.max(longest * (1 - this.#random() / 2), retryAfterMs)
    try {
      await this.#wait(ms, this.#signal)
    } finally {
      this.#signal?.throwIfAborted()
    }
  }
}
