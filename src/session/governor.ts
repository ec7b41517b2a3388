/**
 * Whether guessing pays, by what tokens take with and without it in the same session. Where it plainly does, nothing is
 * tried; where it is in doubt, some tokens are decoded without; where it does not, it is off and tried again now and then.
 */

/** With guesses a token has to take so much less than without; once it does, so little less will do. */
const PAYS = 0.95
const STILL_PAYS = 0.99
/** Below this share of a row's round trip, it plainly pays. */
const PLAINLY = 0.8
/** Stages that compute for no more than this share of a round trip wait for most of it. */
const WORK_SHARE = 0.25
/** Tokens that come sooner are soon enough for any reader: in a short answer, a trial is most of what could be saved. */
const FAST_MS = 4
/** Tokens that tell something. */
const TRIAL_TOKENS = 8
/** So few do where guesses make tokens so many times as slow. */
const LEAST_TOKENS = 3
const SLOW = 1.5
/** Tokens that a mean goes back. */
const MEMORY = 32
/** One hiccup counts as no more than so many times what a token takes without guesses. */
const MOST_SURPRISE = 4
/** What was measured without guesses is believed for so many tokens. */
const FRESH_TOKENS = 512
/** What trials lose, of the time until the next one. */
const LOSS_SHARE = 0.005
/** Even where a trial cost nothing. */
const LEAST_OFF_TOKENS = 64

/** Milliseconds per token over the last ones. */
class Mean {
  #ms = 0
  tokens = 0

  add(ms: number, tokens: number): void {
    if (this.tokens > MEMORY) {
      this.#ms *= MEMORY / this.tokens
      this.tokens = MEMORY
    }
    this.#ms += ms
    this.tokens += tokens
  }

  get isKnown(): boolean {
    return this.tokens >= TRIAL_TOKENS
  }

  get value(): number {
    return this.#ms / this.tokens
  }

  forget(): void {
    this.#ms = 0
    this.tokens = 0
  }
}

/** The usual one of single tokens: the first of a session are slow, and machines hiccup. */
class Median {
  #times: number[] = []

  add(ms: number): void {
    this.#times.push(ms)
    if (this.#times.length > MEMORY) this.#times.shift()
  }

  get isKnown(): boolean {
    return this.#times.length >= TRIAL_TOKENS
  }

  get value(): number {
    return this.#times.toSorted((a, b) => a - b)[this.#times.length >> 1] ?? 0
  }

  forget(): void {
    this.#times = []
  }
}

/** A round through the chain, in milliseconds, where it is known. */
export interface Round {
  /** What a row took at least until it was drawn after: what a token takes without guesses. */
  readonly roundTripMs: number | undefined
  /** Of that, what far stages compute; of near ones it says little, as machines do more than that. */
  readonly workMs: number | undefined
}

export class Governor {
  #mode: 'on' | 'compare' | 'off' = 'on'
  readonly #with = new Mean()
  readonly #without = new Median()
  /** The last token came with guesses. */
  #isGuessing = false
  /** Tokens since something was measured without guesses. */
  #age = 0
  /** Until it is tried again. */
  #offMs = 0
  #offTokens = 0

  get isOn(): boolean {
    return this.#mode === 'on'
  }

  /** What tokens take without guesses is measured first: where it is no more than stages compute, it costs nothing. */
  compare(): void {
    this.#mode = 'compare'
  }

  /** Milliseconds that a token takes now. */
  get tokenMs(): number | undefined {
    const now = this.#isGuessing && this.#with.isKnown ? this.#with : this.#without
    return now.isKnown ? now.value : undefined
  }

  /** So many tokens came after `ms`. `isGuessed`: meanwhile guesses were made or under way. */
  drawn(tokens: number, ms: number, isGuessed: boolean, round: Round): void {
    this.#isGuessing = isGuessed
    if (isGuessed) {
      const most = this.#without.isKnown ? MOST_SURPRISE * this.#without.value * tokens : ms
      this.#with.add(Math.min(ms, most), tokens)
      this.#age += tokens
    } else {
      if (this.#age >= FRESH_TOKENS) this.#without.forget()
      this.#without.add(ms / tokens)
      this.#age = 0
    }
    if (this.#mode === 'off') this.#wait(tokens, ms)
    else if (this.#with.isKnown || this.#isPlainlySlow) this.#judge(round)
    else if (this.#without.isKnown && this.#without.value >= FAST_MS) this.#mode = 'on'
  }

  /** A trial need not be long to tell. */
  get #isPlainlySlow(): boolean {
    const isTelling = this.#with.tokens >= LEAST_TOKENS && this.#without.isKnown
    return isTelling && this.#with.value > SLOW * this.#without.value
  }

  #judge({ roundTripMs, workMs }: Round): void {
    const ms = this.#with.value
    // Where stages mostly wait, guesses can cost next to nothing, whatever a hiccup makes of the times.
    const waits = roundTripMs !== undefined && workMs !== undefined && workMs < WORK_SHARE * roundTripMs
    if (waits || (roundTripMs !== undefined && ms < PLAINLY * roundTripMs)) {
      this.#mode = 'on'
      return
    }
    if (!this.#without.isKnown || this.#age >= FRESH_TOKENS) {
      this.#mode = 'compare'
      return
    }
    const without = this.#without.value
    const limit = this.#mode === 'on' ? STILL_PAYS : PAYS
    this.#mode = ms <= limit * without ? 'on' : 'off'
    this.#offMs = (Math.max(0, ms - without) * TRIAL_TOKENS) / LOSS_SHARE
    this.#offTokens = LEAST_OFF_TOKENS
  }

  #wait(tokens: number, ms: number): void {
    this.#offMs -= ms
    this.#offTokens -= tokens
    if (this.#offMs > 0 || this.#offTokens > 0) return
    this.#mode = 'on'
    this.#with.forget()
  }
}
