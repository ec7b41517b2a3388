/**
 * What a step computes: decode rows of all sessions, and beside them as many rows of prompts as leave the step short;
 * fair between owners. Or when to look again, where waiting a little makes one step of two.
 */
import type { EngineDescription } from '../engine/index.ts'
import type { Lane } from './batcher.ts'
import type { Busy } from './busy.ts'
import type { StepCost, StepRows } from './cost.ts'
import type { Rows } from './frames.ts'
import type { Pace } from './pace.ts'
import {
  DECODE_ROWS,
  type Enough,
  type Entry,
  type Queue,
  rowsAhead,
  type Step,
  take,
  type Waiting
} from './take.ts'
import { Turns } from './turns.ts'

/**
 * Share of a step that is waited for sessions that are about to come back. Who comes just after a step began waits
 * for all of it, so a quarter is well spent; a session alone is never waited for.
 */
const STRAGGLER_SHARE = 1 / 4
/** Decode steps that prompts hold those who decode up for, at most, in one go. */
export const MOST_STALL = 2
/**
 * Share of its time by which prompts lengthen a decode step in the mean: saved up, since few large steps are far
 * cheaper than many small ones. Stages of a chain that share a machine slow each other down beside that.
 */
const STALL_SHARE = 3 / 4
/**
 * Share of the time in which nobody is expected that a step of prompts takes, where that is more: long steps at every
 * stage lengthen the rounds, which would then have room for longer ones still.
 */
const FREE_SHARE = 1 / 4
/** Decode steps that a step of prompts alone is put off for, when somebody is likely to come before its end. */
const IMMINENT_STEPS = 2
/** Decode steps that prompts may have cost more than was saved up: not everything can be foretold. */
const MOST_DEBT = 8
/** How often is looked whether a step of prompts may be run by now, in decode steps. */
const LOOK_SHARE = 1 / 2
/** A stage that computes this share of its time has no room for more waves. */
const BUSY = 0.85
/** Frames of one step of the stage before come within this of each other. */
const SETTLE_MS = 1
/** Steps below this are not worth the wait: timers don't wait for less than a millisecond. */
const SETTLE_LEAST_MS = 8 * SETTLE_MS

/** Pieces of prompts may be short, but nothing is drawn from them. */
export function isPrompt({ tokens, sample }: Rows): boolean {
  return tokens.length > DECODE_ROWS || sample === 'none'
}

export class Planner {
  readonly #cost: StepCost
  readonly #pace: Pace<Lane>
  readonly #busy: Busy
  readonly #decodeTurns = new Turns()
  readonly #promptTurns = new Turns()
  /** Since when a step could have begun. */
  #readySince: number | undefined
  /** Milliseconds that prompts may still cost those who decode. */
  #credit = 0
  /** Milliseconds in which nobody was expected, when the last step began. */
  #free = 0

  constructor(cost: StepCost, pace: Pace<Lane>, busy: Busy) {
    this.#cost = cost
    this.#pace = pace
    this.#busy = busy
  }

  /**
   * Takes the next step's rows from the queues, which are in the order in which lanes are served; whoever is served
   * goes to the end of the line. Or says in how many milliseconds to ask again, unless something comes before;
   * undefined: nothing waits.
   */
  next(queues: Map<Lane, Queue>, limits: EngineDescription, now: number): Step | number | undefined {
    const ready = [...queues].filter(([, { waiting, holds }]) => waiting.length > 0 && holds === 0)
    if (ready.length === 0) {
      this.#readySince = undefined
      return undefined
    }
    const decodes = ready.filter((entry) => !isHeadPrompt(entry))
    const prompts = ready.filter(isHeadPrompt)
    const enough = prompts.length > 0 ? undefined : this.#wave(now)
    const decodeRows = Math.min(limits.maxRows, rowsOf(decodes, enough))
    const budget = prompts.length === 0 ? 0 : this.#promptBudget(decodeRows, now)
    const promptRows = Math.min(budget, limits.maxRows - decodeRows, rowsOf(prompts))
    const newest = Math.max(...decodes.map(([, { waiting }]) => (waiting[0] as Waiting).since))
    const waitMs = this.#waitMs(decodeRows, promptRows, newest, now)
    if (waitMs > 0) return waitMs
    this.#readySince = undefined
    this.#free = this.#pace.decoding(now) === 0 ? Number.POSITIVE_INFINITY : this.#freeMs(now)
    const room = { rows: limits.maxRows, outputs: limits.maxOutputs }
    const step: Step = new Map()
    take(queues, decodes, this.#decodeTurns, room, step, enough)
    room.rows = Math.min(room.rows, budget)
    take(queues, prompts, this.#promptTurns, room, step)
    return step
  }

  #promptBudget(decodeRows: number, now: number): number {
    if (decodeRows > 0) {
      const base = this.#cost.predict(decodeRows)
      const isPaid = this.#credit + base * STALL_SHARE >= base * MOST_STALL
      return isPaid ? this.#cost.promptRowsWithin(base * (1 + MOST_STALL), decodeRows) : 0
    }
    if (this.#pace.decoding(now) === 0) return this.#cost.promptRowsAlone()
    const ms = Math.max(this.#cost.decodeMs * MOST_STALL, this.#freeMs(now) * FREE_SHARE)
    return this.#cost.promptRowsWithin(ms, 0)
  }

  /** To be told of each step: what prompts cost those who decode is paid from what their own steps save up. */
  ended({ decodeRows, promptRows }: StepRows, ms: number): void {
    const usual = this.#cost.decodeMs
    if (usual === 0) return
    let stallMs: number
    if (decodeRows > 0) {
      const base = this.#cost.predict(decodeRows)
      this.#credit = Math.min(this.#credit + base * STALL_SHARE, base * MOST_STALL)
      stallMs = promptRows > 0 ? ms - base : 0
    } else {
      stallMs = this.#stallMs(ms, this.#free)
    }
    this.#credit = Math.max(this.#credit - Math.max(0, stallMs), -usual * MOST_DEBT)
  }

  /** Who comes while a step runs waits; if nobody can tell when, that is as likely as the step is long. */
  #stallMs(ms: number, free: number): number {
    return Math.max(0, Math.min(ms - free, ms * (ms / this.#pace.shortestMs)))
  }

  #freeMs(now: number): number {
    const free = this.#pace.freeMs(now)
    return Number.isFinite(free) ? free : 0
  }

  /**
   * How many who decode are enough for a step. If all sessions go round together, one stage computes and the others
   * idle: a stage that idles cuts such a crowd into waves, as long as small steps are not much dearer than a large one.
   */
  #wave(now: number): Enough | undefined {
    const { share } = this.#busy
    if (share >= BUSY) return undefined
    // Squared, since at two waves on three stages each of them would already be as large as the share allows.
    return { lanes: Math.ceil(share ** 2 * this.#pace.decoding(now)), rows: this.#cost.efficientRows }
  }

  #dueMs(now: number): number {
    return this.#pace.dueMs(now, this.#cost.decodeMs * STRAGGLER_SHARE)
  }

  /** Whether this step would only delay somebody who is about to come. */
  #waitMs(decodeRows: number, promptRows: number, newest: number, now: number): number {
    const stepMs = this.#cost.predict(decodeRows + promptRows)
    const ready = this.#readySince ?? now
    if (decodeRows === 0) {
      if (this.#pace.decoding(now) === 0) return 0
      // A step of prompts alone would end after somebody is likely to be back: who goes first for a while.
      const isOver = ready + this.#cost.decodeMs * IMMINENT_STEPS <= now
      const left = this.#credit - this.#stallMs(stepMs, this.#freeMs(now))
      if (left >= 0 || (isOver && this.#credit >= 0)) return 0
      this.#readySince = ready
      return this.#cost.decodeMs * LOOK_SHARE
    }
    const left = ready + stepMs * STRAGGLER_SHARE - now
    const due = this.#dueMs(now)
    const settles = newest + SETTLE_MS - now
    if (due < left) {
      this.#readySince ??= now
      return due > 0 ? due : left
    }
    if (left <= 0 || settles <= 0 || stepMs < SETTLE_LEAST_MS) return 0
    if (!this.#pace.mayCome(now, this.#cost.decodeMs * STRAGGLER_SHARE)) return 0
    this.#readySince ??= now
    return settles
  }

  forget(owner: string): void {
    this.#decodeTurns.forget(owner)
    this.#promptTurns.forget(owner)
  }
}

/** What is left of a prompt when all outputs are taken is one row to draw from, and must not wait for ever. */
function isHeadPrompt([, { waiting }]: Entry): boolean {
  const head = waiting[0] as Waiting
  return head.isPrompt && (head.rows.tokens.length > 1 || head.rows.sample === 'none')
}

/** Rows that a step can have of them, where no more than `enough` are taken. */
function rowsOf(entries: readonly Entry[], enough?: Enough): number {
  const all = entries.reduce((rows, [, queue]) => rows + rowsAhead(queue), 0)
  if (enough === undefined) return all
  return Math.min(all, Math.ceil(Math.max(enough.rows, (all * enough.lanes) / entries.length, 1)))
}
