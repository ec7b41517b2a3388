/** How often guesses are right that claim to be so often: learned from what became of them. */

/** Of claimed probabilities: fine enough to tell likely from certain, coarse enough to fill soon. */
const BINS = 10
/** What is claimed counts like so many guesses. */
const CLAIM_WEIGHT = 4
/** Guesses per bin that an estimate goes back: texts change. */
const MEMORY = 64
/** However often it was right: nothing is certain, nor impossible. */
const LEAST = 0.001
const MOST = 0.999

interface Bin {
  right: number
  all: number
}

export class Calibration {
  readonly #bins: Bin[] = Array.from({ length: BINS }, () => ({ right: 0, all: 0 }))

  of(claimed: number): number {
    const { right, all } = this.#bin(claimed)
    const estimate = (right + CLAIM_WEIGHT * claimed) / (all + CLAIM_WEIGHT)
    return Math.min(MOST, Math.max(LEAST, estimate))
  }

  learn(claimed: number, isRight: boolean): void {
    const bin = this.#bin(claimed)
    if (bin.all >= MEMORY) {
      bin.right /= 2
      bin.all /= 2
    }
    bin.all += 1
    if (isRight) bin.right += 1
  }

  #bin(claimed: number): Bin {
    const index = Math.floor(claimed * BINS)
    return this.#bins[Math.min(BINS - 1, Math.max(0, index))] as Bin
  }
}
