/** One loop for all sessions of a stage: each step takes rows of everybody who waits and runs them together. */
import type { BatchResult, Engine, GroupResult, Output, RowGroup } from '../engine/index.ts'
import { EngineError, type EngineErrorCode } from '../engine/index.ts'
import type { RefusalCode } from '../net/index.ts'
import { Busy } from './busy.ts'
import { StepCost, type StepRows } from './cost.ts'
import { type Rows, splitRows } from './frames.ts'
import { Pace } from './pace.ts'
import { isPrompt, MOST_STALL, Planner } from './plan.ts'
import type { Queue, Step } from './take.ts'
import { watch } from './watchdog.ts'

export interface Computed {
  readonly rows: Rows
  readonly result: GroupResult
  /** See Lane. */
  readonly sampler: number | undefined
  readonly queueMs: number
  readonly computeMs: number
}

/** A session as the batcher sees it. */
export interface Lane {
  readonly sequence: number
  /** The consumer's peer id: a stage's time is shared between consumers, not between their sessions. */
  readonly owner: string
  /** The output a mid-chain stage gives, or undefined for the tail. */
  readonly leaveAfter: number | undefined
  /** The version of the sampler that rows are drawn by which the engine is given now. */
  readonly sampler?: number | undefined
  computed(value: Computed): void
  /** Must not throw. */
  failed(code: RefusalCode, message: string): void
}

export class Batcher {
  readonly #engine: Engine
  /** In the order in which lanes are served. */
  readonly #queues = new Map<Lane, Queue>()
  #running = false
  readonly #pace = new Pace<Lane>()
  #cost = new StepCost()
  readonly #busy = new Busy()
  #planner = new Planner(this.#cost, this.#pace, this.#busy)
  /** Lanes that were cut since the step under way began: what it has of theirs is not to be run once more. */
  readonly #cut = new Set<Lane>()
  /** Looks again when whoever is waited for must have come. */
  #timer: NodeJS.Timeout | undefined

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Milliseconds that the next step may well take; 0 while nothing is known. */
  get predictedMs(): number {
    const ms = this.#cost.predict(Math.max(1, this.#pace.rows(performance.now())))
    const prompts = this.#queues.values().some(({ waiting }) => waiting[0]?.isPrompt === true)
    return prompts ? ms * (1 + MOST_STALL) : ms
  }

  /** A step is under way. */
  get isRunning(): boolean {
    return this.#running
  }

  add(lane: Lane): void {
    this.#queues.set(lane, { waiting: [], holds: 0 })
  }

  remove(lane: Lane): void {
    this.#queues.delete(lane)
    this.#pace.forget(lane)
    if (!this.#queues.keys().some(({ owner }) => owner === lane.owner)) this.#planner.forget(lane.owner)
  }

  /** Rows of a lane that wait, for back-pressure. */
  waitingRows(lane: Lane): number {
    return this.#queues.get(lane)?.waiting.reduce((sum, { rows }) => sum + rows.tokens.length, 0) ?? 0
  }

  /** The rows of a lane that are next. */
  next(lane: Lane): Rows | undefined {
    return this.#queues.get(lane)?.waiting[0]?.rows
  }

  /** Forgets the rows of a lane that wait. */
  discard(lane: Lane): void {
    const queue = this.#queues.get(lane)
    if (queue !== undefined) queue.waiting = []
  }

  push(lane: Lane, rows: Rows): void {
    const queue = this.#queues.get(lane)
    if (queue === undefined) return
    const since = performance.now()
    // The few rows at a prompt's end are nothing that is waited for while its beginning waits.
    const waiting = { rows, since, isPrompt: isPrompt(rows) || queue.waiting.at(-1)?.isPrompt === true }
    if (waiting.isPrompt) this.#pace.forget(lane)
    else this.#pace.came(lane, since, rows.tokens.length, rows.sample === 'all')
    queue.waiting.push(waiting)
    void this.#run()
  }

  /** Nothing of the lane runs until `resume` was called as often as this. */
  hold(lane: Lane): void {
    const queue = this.#queues.get(lane)
    if (queue !== undefined) queue.holds += 1
  }

  resume(lane: Lane): void {
    const queue = this.#queues.get(lane)
    if (queue === undefined) return
    queue.holds -= 1
    void this.#run()
  }

  /**
   * Cuts a lane to `length`: rows that still wait are trimmed, and the engine's sequence is cut if they were not
   * all of it. Resolves to the length that is left; nothing of the lane runs until then.
   */
  async truncate(lane: Lane, length: number): Promise<number> {
    const queue = this.#queues.get(lane)
    if (queue === undefined) return 0
    queue.waiting = queue.waiting.flatMap((waiting) => {
      const before = length - waiting.rows.position
      if (before <= 0) return []
      return [{ ...waiting, rows: splitRows(waiting.rows, before)[0] }]
    })
    // What the engine has lies before what waits: if some of that stays, so does all of the former.
    if (queue.waiting.length > 0) return length
    this.#cut.add(lane)
    this.hold(lane)
    const answered = this.#watchCut()
    try {
      return await this.#engine.truncate(lane.sequence, length)
    } catch (error) {
      lane.failed('engine', messageOf(error))
      return 0
    } finally {
      answered()
      this.resume(lane)
    }
  }

  /** As `#watched`: nothing else may run that would be. Behind a batch, it is that one which is waited for. */
  #watchCut(): () => void {
    let answered: () => void
    const wait = (): void => {
      answered = watch(this.#cost.deadlineMs({ decodeRows: 1, promptRows: 0 }), (waitedMs) => {
        if (this.#running) wait()
        else this.#engine.restart(`it hangs: cutting a sequence took over ${Math.round(waitedMs)} ms`)
      })
    }
    wait()
    return () => answered()
  }

  failAll(code: RefusalCode, message: string): void {
    for (const lane of [...this.#queues.keys()]) lane.failed(code, message)
  }

  async #run(): Promise<void> {
    if (this.#running) return
    this.#running = true
    clearTimeout(this.#timer)
    try {
      for (;;) {
        const step = this.#planner.next(this.#queues, this.#engine.description, performance.now())
        if (typeof step === 'number') this.#timer = setTimeout(() => void this.#run(), step)
        if (step === undefined || typeof step === 'number') return
        this.#cut.clear()
        await this.#compute(step)
      }
    } finally {
      this.#running = false
    }
  }

  async #compute(step: Step): Promise<void> {
    const entries = [...step]
    const rows = rowsOf(step)
    const samplers = entries.map(([{ sampler }]) => sampler)
    const started = performance.now()
    try {
      const { groups, computeMs } = await this.#watched(
        entries.map(([lane, { rows }]) => groupOf(lane, rows)),
        rows
      )
      const ended = performance.now()
      this.#planner.ended(rows, ended - started)
      this.#cost.measured(rows, ended - started)
      this.#busy.step(started, ended)
      for (const [index, [lane, { rows, since }]] of entries.entries()) {
        const result = groups[index] as GroupResult
        if (result.error === undefined) {
          const sampler = samplers[index]
          this.#deliver(lane, { rows, result, sampler, queueMs: started - since, computeMs }, ended)
        } else {
          lane.failed(codeOf(result.error), result.error.message)
        }
      }
    } catch (error) {
      // The engine refused or lost the whole batch: nobody's rows are in the cache.
      if (codeOf(error) === 'input' && entries.length > 1) {
        // Somebody's rows are not ones that it takes: nobody else's session ends for that.
        for (const entry of entries) {
          if (this.#queues.has(entry[0]) && !this.#cut.has(entry[0])) await this.#compute(new Map([entry]))
        }
        return
      }
      if (error instanceof EngineError && error.code === 'DIED') this.#forgetCosts()
      for (const [lane] of entries) lane.failed(codeOf(error), messageOf(error))
    }
  }

  /** An engine that does not answer is given up: its process is killed, and its successor starts empty. */
  async #watched(groups: readonly RowGroup[], rows: StepRows): Promise<BatchResult> {
    const deadlineMs = this.#cost.deadlineMs(rows)
    const answered = watch(deadlineMs, (waitedMs) => {
      const count = rows.decodeRows + rows.promptRows
      this.#engine.restart(
        `it hangs: a batch of ${count} rows took over ${Math.round(waitedMs)} ms, ` +
          `${Math.round(this.#cost.predict(count))} were expected`
      )
    })
    try {
      return await this.#engine.run(groups)
    } finally {
      answered()
    }
  }

  /** A new process is cold, and may be slow for a reason of its own. */
  #forgetCosts(): void {
    this.#cost = new StepCost()
    this.#planner = new Planner(this.#cost, this.#pace, this.#busy)
  }

  #deliver(lane: Lane, computed: Computed, ended: number): void {
    if (!this.#queues.has(lane)) return
    try {
      lane.computed(computed)
    } catch (error) {
      lane.failed('engine', messageOf(error))
    }
    // Nobody waits for who is here.
    const isAway = computed.rows.sample !== 'none' && this.#queues.get(lane)?.waiting.length === 0
    if (isAway) this.#pace.left(lane, ended)
  }
}

function rowsOf(step: Step): StepRows {
  const rows = { decodeRows: 0, promptRows: 0 }
  for (const {
    rows: { tokens },
    isPrompt
  } of step.values()) {
    rows[isPrompt ? 'promptRows' : 'decodeRows'] += tokens.length
  }
  return rows
}

function groupOf(lane: Lane, rows: Rows): RowGroup {
  const { position, tokens, hidden } = rows
  return {
    ...{ sequence: lane.sequence, position, tokens },
    ...(hidden === undefined ? {} : { hidden }),
    ...(lane.leaveAfter === undefined ? {} : { leaveAfter: lane.leaveAfter }),
    output: outputOf(lane, rows)
  }
}

function outputOf(lane: Lane, rows: Rows): Output {
  if (lane.leaveAfter !== undefined) return 'hidden'
  return rows.sample === 'none' ? 'none' : `sample-${rows.sample}`
}

const CODES: Partial<Record<EngineErrorCode, RefusalCode>> = { KV_FULL: 'full', INPUT: 'input' }

/** What a consumer hears of an engine's error. */
export function codeOf(error: unknown): RefusalCode {
  return (error instanceof EngineError ? CODES[error.code] : undefined) ?? 'engine'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
