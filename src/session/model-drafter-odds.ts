/** How likely a draft model's guesses hold: learnt from what became of them. */

/** Of the root of the model's probability: most guesses have a small one. */
const BINS = 8
/** So many guesses weigh as much as what was believed in the beginning. */
const PRIOR_GUESSES = 8
/** What is older fades: texts change. */
const MOST_GUESSES = 64

/**
 * The draft draws with the same random number as the tail, so that both agree more often than two draws of the same
 * probability would (p), and greedy drawing takes the likeliest token however unlikely it is. Of the demo model and its
 * draft, guesses drawn at temperature 0.8 held about as often as the root of p, greedy ones a little more often. That is
 * the belief to begin with; outcomes, in bins of p, soon outweigh it.
 */
export class Odds {
  readonly #bins = Array.from({ length: BINS }, () => ({ held: 0, all: 0 }))

  /** That a token holds which the model gives the probability `p`. */
  of(p: number): number {
    const { held, all } = this.#bin(p)
    return (Math.sqrt(p) * PRIOR_GUESSES + held) / (PRIOR_GUESSES + all)
  }

  learn(p: number, isRight: boolean): void {
    const bin = this.#bin(p)
    bin.held += isRight ? 1 : 0
    bin.all += 1
    if (bin.all <= MOST_GUESSES) return
    bin.held *= MOST_GUESSES / bin.all
    bin.all = MOST_GUESSES
  }

  #bin(p: number): { held: number; all: number } {
    const index = Math.min(BINS - 1, Math.floor(Math.sqrt(p) * BINS))
    return this.#bins[index] as { held: number; all: number }
  }
}
