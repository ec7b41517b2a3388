import type { SamplerOptions } from '../net/index.ts'

/** A token that may come next. */
export interface Guess {
  readonly token: number
  /** That the tail draws it, if all before it are right; in (0, 1]. */
  readonly probability: number
}

/**
 * Guesses how a conversation goes on (speculative decoding: Leviathan et al. 2023; prompt lookup: Saxena 2023). Belongs
 * to one session, and is asked for one draft at a time. Wrong guesses cost time, never text: the tail draws for itself.
 */
export interface Drafter {
  /**
   * At most `most` tokens that may follow `ids`, in their order; none where it has no idea. `ids` is the conversation,
   * with the guesses that are under way at its end; since the last call it has grown, or differs from anywhere on.
   * What it gives at once is sent at once. Rejects with the signal's reason; what else fails counts as no guess.
   * The first `certain` ids are no guesses: there it can learn what became of its own.
   */
  draft(
    ids: readonly number[],
    most: number,
    signal: AbortSignal,
    certain: number
  ): readonly Guess[] | Promise<readonly Guess[]>
  /** The tail draws so from now on: who draws, draws alike, with the same random number at each position. */
  resample(sampler: SamplerOptions): void
  close(): Promise<void>
}
