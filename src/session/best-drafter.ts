/** Two sources of guesses, and of both, place by place, the one that is more likely right. */
import type { SamplerOptions } from '../net/index.ts'
import { Calibration } from './calibration.ts'
import type { Drafter, Guess } from './drafter.ts'

/** Guesses of the slow source that its usual probability goes back. */
const MEMORY = 32
/** The slow source's usual probability before it was asked. */
const FIRST_USUAL = 0.6

interface Candidate extends Guess {
  /** As its source says. */
  readonly claimed: number
  readonly calibration: Calibration
}

/**
 * A quick source, which answers at once (n-grams), and a slow one (a model), which is asked where the quick one has
 * nothing that is likelier. Each is believed as far as it was right lately; what both say, more than what one says.
 */
export class BestDrafter implements Drafter {
  readonly #quick: Drafter
  readonly #slow: Drafter
  readonly #quickCalibration = new Calibration()
  readonly #slowCalibration = new Calibration()
  /** What was said of positions that are not certain yet; the first of each was chosen. */
  readonly #open = new Map<number, readonly Candidate[]>()
  #certain = 0
  #usual = FIRST_USUAL

  constructor(quick: Drafter, slow: Drafter) {
    this.#quick = quick
    this.#slow = slow
  }

  draft(
    ids: readonly number[],
    most: number,
    signal: AbortSignal,
    certain: number
  ): readonly Guess[] | Promise<readonly Guess[]> {
    this.#learn(ids, certain)
    const quick = this.#askQuick(ids, most, signal, certain)
    const better = quick.findIndex(({ probability }) => probability < this.#usual)
    const guesses = better < 0 ? quick : quick.slice(0, better)
    if (guesses.length === 0) return this.#askSlow(ids, most, signal, certain)
    return guesses.map((guess, index) => this.#choose(ids.length + index, [guess]))
  }

  #askQuick(ids: readonly number[], most: number, signal: AbortSignal, certain: number): Candidate[] {
    const guesses = this.#quick.draft(ids, most, signal, certain)
    return guesses instanceof Promise ? [] : guesses.map((guess) => candidate(guess, this.#quickCalibration))
  }

  async #askSlow(
    ids: readonly number[],
    most: number,
    signal: AbortSignal,
    certain: number
  ): Promise<Guess[]> {
    const line = [...ids]
    const chosen: Guess[] = []
    for (const guess of await this.#slow.draft(ids, most, signal, certain)) {
      const slow = candidate(guess, this.#slowCalibration)
      this.#usual += (slow.probability - this.#usual) / MEMORY
      const best = this.#choose(line.length, [slow, ...this.#askQuick(line, 1, signal, certain)])
      chosen.push(best)
      line.push(best.token)
      if (best.token !== slow.token) break // what the slow source says next follows its own
    }
    if (chosen.length > 0) return chosen
    const quick = this.#askQuick(ids, most, signal, certain)
    return quick.map((guess, index) => this.#choose(ids.length + index, [guess]))
  }

  #choose(position: number, candidates: readonly Candidate[]): Guess {
    const [first, ...others] = candidates.toSorted((a, b) => b.probability - a.probability)
    const { token } = first as Candidate
    this.#open.set(position, [first as Candidate, ...others])
    const wrong = (guess: Guess): number => (guess.token === token ? 1 - guess.probability : 1)
    return { token, probability: 1 - candidates.reduce((all, guess) => all * wrong(guess), 1) }
  }

  #learn(ids: readonly number[], certain: number): void {
    if (certain < this.#certain) this.#open.clear() // another conversation, or this one taken back
    for (let position = this.#certain; position < certain; position++) {
      const candidates = this.#open.get(position)
      if (candidates === undefined) continue
      this.#open.delete(position)
      const token = ids[position]
      for (const guess of candidates) guess.calibration.learn(guess.claimed, guess.token === token)
      if (candidates[0]?.token !== token) this.#open.clear() // said of what did not come
    }
    this.#certain = certain
  }

  resample(sampler: SamplerOptions): void {
    this.#quick.resample(sampler)
    this.#slow.resample(sampler)
  }

  async close(): Promise<void> {
    await Promise.all([this.#quick.close(), this.#slow.close()])
  }
}

function candidate({ token, probability }: Guess, calibration: Calibration): Candidate {
  return { token, probability: calibration.of(probability), claimed: probability, calibration }
}
