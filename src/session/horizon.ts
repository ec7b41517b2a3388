/** How far to guess: until the next guess is likely to cost more time than it saves. */
import { Governor } from './governor.ts'
import type { FrameCost } from './statistics.ts'

/** Round trips that the shortest one is taken of: longer ones waited behind others. */
const ROUND_TRIPS = 16
/** Share of a token's time that a guess costs, before anything was measured. */
const FIRST_COST = { near: 0.1, far: 0.02 }
/** A drafter that takes its time is asked for what it makes in this share of a round trip, so that the first ones leave soon. */
const WINDOW_SHARE = 0.02
const LEAST_WINDOW = 2
const FIRST_WINDOW = 4
/** Stages that answer sooner hardly wait for each other: guesses may well cost more than they save. */
const NEAR_MS = 15
/** Drafts that the usual time is of. */
const DRAFTS = 9

interface Window {
  readonly position: number
  readonly at: number
}

export interface HorizonInit {
  /** Of all stages together, where it is known. */
  readonly cost: () => FrameCost | undefined
  /** What the quickest answer of the farthest stage took, in milliseconds. */
  readonly linkMs: () => number
}

export class Horizon {
  readonly #governor = new Governor()
  readonly #init: HorizonInit
  /** Frames to be drawn after, in their order. */
  #windows: Window[] = []
  #roundTrips: number[] = []
  /** Milliseconds per guess of a drafter that takes its time; the first draft of an answer reads the prompt as well. */
  #drafts: number[] = []
  #hasRead = false
  /** Rows up to here left before the answer's first token, and came back with it: they say nothing of what tokens take. */
  #early = 0
  /** The last row that was drawn after. */
  #returned = 0
  /** When tokens came last in this answer, and whether guesses were made or under way since. */
  #last: number | undefined
  #isGuessed = false
  /** Nothing was drawn yet in this session. */
  #isNew = true

  constructor(init: HorizonInit) {
    this.#init = init
  }

  get isOn(): boolean {
    return this.#governor.isOn
  }

  /** That a guess holds, with all before it: below this it costs more than it saves. */
  get leastProbability(): number {
    const tokenMs = this.#governor.tokenMs ?? this.#roundTripMs
    const cost = this.#init.cost()
    const isNear = this.#isNear
    if (tokenMs === undefined || cost === undefined) return FIRST_COST[isNear ? 'near' : 'far']
    // While far stages are waited for, there is time to guess.
    return Math.min(1, (cost.rowMs + (isNear ? (this.#draftMs ?? 0) : 0)) / tokenMs)
  }

  /** Guesses to ask a drafter for that takes its time. */
  get windowRows(): number {
    const roundTripMs = this.#roundTripMs
    const draftMs = this.#draftMs
    if (draftMs === undefined || roundTripMs === undefined) return FIRST_WINDOW
    return Math.max(LEAST_WINDOW, Math.ceil((WINDOW_SHARE * roundTripMs) / draftMs))
  }

  get #draftMs(): number | undefined {
    return this.#drafts.toSorted((a, b) => a - b)[this.#drafts.length >> 1]
  }

  get #isNear(): boolean {
    return this.#init.linkMs() < NEAR_MS
  }

  get #roundTripMs(): number | undefined {
    return this.#roundTrips.length === 0 ? undefined : Math.min(...this.#roundTrips)
  }

  /** Rows to be drawn after have left from `position` on, `guesses` of them guesses. */
  sent(position: number, guesses: number): void {
    if (this.#last === undefined) this.#early = position + guesses
    else this.#windows.push({ position, at: performance.now() })
    if (guesses > 0) this.#isGuessed = true
  }

  /** A draft that took its time. */
  drafted(ms: number, guesses: number): void {
    if (this.#hasRead) this.#drafts.push(ms / Math.max(1, guesses))
    if (this.#drafts.length > DRAFTS) this.#drafts.shift()
    this.#hasRead = true
  }

  /** Guesses are being made. */
  drafting(): void {
    this.#isGuessed = true
  }

  /** The row at `position` was drawn after. */
  returned(position: number): void {
    this.#returned = position
    while (this.#windows[0] !== undefined && this.#windows[0].position <= position) {
      this.#roundTrips.push(performance.now() - (this.#windows.shift() as Window).at)
      if (this.#roundTrips.length > ROUND_TRIPS) this.#roundTrips.shift()
    }
  }

  /** `tokens` have come; `isGuessing`: guesses are under way or being made still. */
  drawn(tokens: number, isGuessing: boolean): void {
    const now = performance.now()
    const isNear = this.#isNear
    if (this.#isNew && isNear) this.#governor.compare()
    this.#isNew = false
    if (this.#last !== undefined && this.#returned > this.#early) {
      const round = {
        roundTripMs: this.#roundTripMs,
        workMs: isNear ? undefined : this.#init.cost()?.frameMs
      }
      this.#governor.drawn(tokens, now - this.#last, this.#isGuessed, round)
    }
    this.#last = now
    this.#isGuessed = isGuessing
  }

  /** What is under way is void. */
  cut(): void {
    this.#windows = []
  }

  /** The answer has ended. */
  rest(): void {
    this.cut()
    this.#last = undefined
    this.#hasRead = false
  }
}
