/**
 * What a step computes: decode rows of all sessions, and beside them as many rows of prompts as leave the step short;
 * fair between owners. Or when to look again, where waiting a little makes one step of two.
 */
import type { EngineDescription } from '../engine/index.ts'
import type { Lane } from './batcher.ts'
import type { StepCost } from './cost.ts'
import type { Rows } from './frames.ts'
import type { Pace } from './pace.ts'
import { type Entry, type Queue, type Step, take, type Waiting } from './take.ts'
import { Turns } from './turns.ts'

/** Frames up to this many rows are decoding (or a draft to verify), and go before prompts. */
const DECODE_ROWS = 16
/**
 * Share of a step that is waited for sessions that are about to come back. Who comes just after a step began waits
 * for all of it, so a quarter is well spent; a session alone is never waited for.
 */
const STRAGGLER_SHARE = 1 / 4

/** Pieces of prompts may be short, but nothing is drawn from them. */
export function isPrompt({ tokens, sample }: Rows): boolean {
  return tokens.length > DECODE_ROWS || sample === 'none'
}

export class Planner {
  readonly #cost: StepCost
  readonly #pace: Pace<Lane>
  readonly #decodeTurns = new Turns()
  readonly #promptTurns = new Turns()
  /** Since when a step could have begun. */
  #readySince: number | undefined

  constructor(cost: StepCost, pace: Pace<Lane>) {
    this.#cost = cost
    this.#pace = pace
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
    const decodeRows = Math.min(limits.maxRows, sum(decodes))
    const budget = prompts.length === 0 ? 0 : this.#promptBudget(decodeRows, now)
    const promptRows = Math.min(budget, limits.maxRows - decodeRows, sum(prompts))
    const waitMs = this.#waitMs(decodeRows, promptRows, now)
    if (waitMs > 0) return waitMs
    this.#readySince = undefined
    const room = { rows: limits.maxRows, outputs: limits.maxOutputs }
    const step: Step = new Map()
    take(queues, decodes, this.#decodeTurns, room, step)
    room.rows = Math.min(room.rows, budget)
    take(queues, prompts, this.#promptTurns, room, step)
    return step
  }

  #promptBudget(decodeRows: number, now: number): number {
    if (decodeRows > 0) return this.#cost.promptRowsBeside(decodeRows)
    if (this.#pace.decoding(now) === 0) return this.#cost.promptRowsAlone()
    const due = this.#dueMs(now)
    return this.#cost.promptRowsBetween(due === Number.POSITIVE_INFINITY ? 2 * this.#cost.decodeMs : due)
  }

  #dueMs(now: number): number {
    return this.#pace.dueMs(now, this.#cost.decodeMs * STRAGGLER_SHARE)
  }

  /** Whether this step would only delay somebody who is about to come. */
  #waitMs(decodeRows: number, promptRows: number, now: number): number {
    const stepMs = this.#cost.predict(decodeRows + promptRows)
    // A step of prompts alone is planned to end when the next row is due: if it can't, the row goes first.
    const patience = decodeRows > 0 ? stepMs * STRAGGLER_SHARE : stepMs
    const left = (this.#readySince ?? now) + patience - now
    const due = this.#dueMs(now)
    if (due >= left) return 0
    this.#readySince ??= now
    return due > 0 ? due : left
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

function sum(entries: readonly Entry[]): number {
  return entries.reduce((rows, [, { waiting }]) => rows + (waiting[0] as Waiting).rows.tokens.length, 0)
}
