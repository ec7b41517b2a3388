/** The guesses of a session: which are made or under way, and what becomes of them. */
import type { SamplerOptions } from '../net/index.ts'
import { DECODE_ROWS } from '../stage/index.ts'
import { Calibration } from './calibration.ts'
import type { Drafter, Guess } from './drafter.ts'
import { Horizon, type HorizonInit } from './horizon.ts'

/** Guesses under way: with a ring of 200 ms enough for 1,280 tokens per second. */
const MOST_GUESSES = 256
const MAX_TOKEN = 2 ** 31 - 1

/** What guessing was like in a session so far. */
export interface SpeculationFigures {
  /** Rows of guesses that were sent. */
  readonly sent: number
  /** Guesses that were right. */
  readonly right: number
  /** Frames with guesses. */
  readonly windows: number
  /** Whether it pays now; where it does not, it is tried again now and then. */
  readonly isOn: boolean
}

export interface SpeculationInit extends HorizonInit {
  readonly drafter: Drafter
  /** There are guesses to send, or it is worth asking again. */
  readonly onGuesses: () => void
}

/** What is guessed for: see Speculation.draft. */
export interface Line {
  /** The certain ids. What is drawn is added to them. */
  readonly ids: readonly number[]
  /** Positions that the answer may take. */
  readonly limit: number
  readonly endTokens: ReadonlySet<number>
}

export class Speculation {
  readonly #drafter: Drafter
  readonly #onGuesses: () => void
  readonly #calibration = new Calibration()
  readonly #horizon: Horizon
  /** Behind the certain ids. An end token is the last one, and is not sent. */
  #guesses: Guess[] = []
  #hasEnd = false
  /** The drafter has nothing more to say until something is drawn. */
  #isDry = false
  /** The draft that is being made; aborted where nobody wants it any more. */
  #drafting: AbortController | undefined
  #sent = 0
  #right = 0
  #windows = 0

  constructor(init: SpeculationInit) {
    this.#drafter = init.drafter
    this.#onGuesses = init.onGuesses
    this.#horizon = new Horizon(init)
  }

  get figures(): SpeculationFigures {
    return { sent: this.#sent, right: this.#right, windows: this.#windows, isOn: this.#horizon.isOn }
  }

  /** Guesses that may be sent, behind the certain ids. */
  get tokens(): number[] {
    const guesses = this.#hasEnd ? this.#guesses.slice(0, -1) : this.#guesses
    return guesses.map(({ token }) => token)
  }

  /** Has guesses made where it is worth it. Those that are given at once are in `tokens` when it returns. */
  draft(line: Line): void {
    while (this.#drafting === undefined) {
      const most = this.#most(line)
      if (most <= 0) return
      const { ids } = line
      const giveUp = new AbortController()
      const all = [...ids, ...this.#guesses.map(({ token }) => token)]
      const guesses = this.#ask(all, most, giveUp.signal, ids.length)
      if (guesses instanceof Promise) void this.#wait(guesses, all.length, line, giveUp)
      else this.#isDry = !this.#take(guesses, all.length, line)
    }
  }

  #ask(...call: Parameters<Drafter['draft']>): ReturnType<Drafter['draft']> {
    try {
      return this.#drafter.draft(...call)
    } catch {
      return []
    }
  }

  /** How many guesses to ask for. */
  #most({ ids, limit }: Line): number {
    const horizon = this.#horizon
    if (this.#isDry || this.#hasEnd || !horizon.isOn) return 0
    if (this.#probability() < horizon.leastProbability) return 0
    const end = ids.length + this.#guesses.length
    return Math.min(horizon.windowRows, DECODE_ROWS, limit - end, MOST_GUESSES - this.#guesses.length)
  }

  /** That all guesses hold. */
  #probability(): number {
    return this.#guesses.reduce((all, guess) => all * this.#calibration.of(guess.probability), 1)
  }

  async #wait(
    drafted: Promise<readonly Guess[]>,
    from: number,
    line: Line,
    giveUp: AbortController
  ): Promise<void> {
    this.#drafting = giveUp
    this.#horizon.drafting()
    const started = performance.now()
    const guesses = await drafted.catch(() => [])
    this.#drafting = undefined
    if (!giveUp.signal.aborted) {
      this.#horizon.drafted(performance.now() - started, guesses.length)
      this.#isDry = !this.#take(guesses, from, line)
    }
    this.#onGuesses()
  }

  /** Guesses for position `from` on, of which some may have been drawn meanwhile. False: there is nothing new in them. */
  #take(guesses: readonly Guess[], from: number, { ids, endTokens }: Line): boolean {
    const drawn = Math.min(guesses.length, ids.length + this.#guesses.length - from)
    for (let index = 0; index < drawn; index++) {
      if (guesses[index]?.token !== ids[from + index]) return true // wrong by now
    }
    const least = this.#horizon.leastProbability
    let all = this.#probability()
    const before = this.#guesses.length
    for (const guess of guesses.slice(drawn)) {
      all *= this.#calibration.of(guess.probability)
      const isToken = Number.isInteger(guess.token) && guess.token >= 0 && guess.token <= MAX_TOKEN
      if (all < least || !isToken || this.#hasEnd) break
      this.#guesses.push(guess)
      this.#hasEnd = endTokens.has(guess.token)
    }
    return this.#guesses.length > before || drawn > 0
  }

  /** Rows to be drawn after have left, `guesses` of them guesses. */
  sent(position: number, guesses: number): void {
    this.#sent += guesses
    if (guesses > 0) this.#windows += 1
    this.#horizon.sent(position, guesses)
  }

  /** What was drawn after `row`: whether it was guessed. Where something else was, there are no guesses any more. */
  compare(token: number, row: number): boolean {
    this.#isDry = false
    this.#horizon.returned(row)
    const guess = this.#guesses.shift()
    if (guess === undefined) return false // a draft under way may have it
    const isRight = guess.token === token
    this.#calibration.learn(guess.probability, isRight)
    if (isRight) this.#right += 1
    else this.drop()
    return isRight
  }

  /** A message with so many tokens was read. */
  drawn(tokens: number): void {
    this.#horizon.drawn(tokens, this.#guesses.length > 0 || this.#drafting !== undefined)
  }

  /** What was guessed is void. */
  drop(): void {
    this.#guesses = []
    this.#hasEnd = false
    this.#isDry = false
    this.#drafting?.abort(new Error('the guess is of no use any more'))
    this.#horizon.cut()
  }

  /** The answer has ended. */
  rest(): void {
    this.drop()
    this.#horizon.rest()
  }

  resample(sampler: SamplerOptions): void {
    this.#drafter.resample(sampler)
  }

  async close(): Promise<void> {
    this.rest()
    await this.#drafter.close()
  }
}
