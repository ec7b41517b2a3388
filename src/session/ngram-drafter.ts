/** Guesses that a conversation goes on as it went on before (prompt lookup decoding, Saxena 2023). */
import type { Drafter, Guess } from './drafter.ts'
import { type Match, NgramIndex } from './ngram-index.ts'

/** That a match holds, by its length up to 1, 2, 3, 4, 6, 8, 12, 16, 24, 32: until there is better knowledge. */
const LENGTHS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
const PRIORS = [0.1, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.9, 0.93, 0.96]
/** What is known before counts like so many matches. */
const PRIOR_WEIGHT = 4
/** Confidences that are told apart: a continuation seen once, twice, more often. */
const CONFIDENCES = 3
/** Matches of a kind that a rate goes back: texts change. */
const MEMORY = 64

interface Rate {
  right: number
  all: number
}

export class NgramDrafter implements Drafter {
  readonly #index = new NgramIndex()
  readonly #rates: Rate[] = Array.from({ length: LENGTHS.length * CONFIDENCES }, () => ({ right: 0, all: 0 }))
  /** What is indexed. */
  #known: number[] = []

  draft(ids: readonly number[], most: number, _signal: AbortSignal, certain: number): Guess[] {
    this.#learn(ids, certain)
    const match = this.#index.find(ids)
    if (match === undefined) return []
    const line = [...ids]
    const guesses: Guess[] = []
    // What came next may reach into the guesses: a text that repeats itself goes on for ever.
    for (let step = 0; step < most; step++) {
      const token = line[match.position + step] as number
      const rate = this.#rate({ ...match, length: match.length + step })
      line.push(token)
      guesses.push({ token, probability: rateOf(rate.prior, rate.rate) })
    }
    return guesses
  }

  /** Indexes what has become certain, and counts what would have been guessed for it. */
  #learn(ids: readonly number[], certain: number): void {
    const known = this.#known
    let same = 0
    while (same < known.length && same < certain && known[same] === ids[same]) same++
    if (same < known.length) {
      // The conversation was taken back: what was said then may well be said again, but stands elsewhere.
      this.#index.clear()
      known.length = 0
    }
    const isNew = known.length === 0 // a prompt tells little about its answer
    for (let position = known.length; position < certain; position++) {
      const match = isNew ? undefined : this.#index.find(known)
      const token = ids[position] as number
      if (match !== undefined) {
        const { rate } = this.#rate(match)
        if (rate.all >= MEMORY) {
          rate.right /= 2
          rate.all /= 2
        }
        rate.all += 1
        if (known[match.position] === token) rate.right += 1
      }
      known.push(token)
      this.#index.add(known, position)
    }
  }

  #rate({ length, confidence }: Match): { rate: Rate; prior: number } {
    const found = LENGTHS.findIndex((limit) => length <= limit)
    const index = found < 0 ? LENGTHS.length - 1 : found
    const kind = Math.min(confidence, CONFIDENCES - 1)
    const prior = PRIORS[index] as number
    return { rate: this.#rates[index * CONFIDENCES + kind] as Rate, prior }
  }

  resample(): void {} // what was said is what is guessed, however it is drawn

  async close(): Promise<void> {}
}

function rateOf(prior: number, { right, all }: Rate): number {
  return (right + PRIOR_WEIGHT * prior) / (all + PRIOR_WEIGHT)
}
