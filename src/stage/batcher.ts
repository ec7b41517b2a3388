/** One loop for all sessions of a stage: each step takes rows of everybody who waits and runs them together. */
import type { Engine, GroupResult, Output, RowGroup } from '../engine/index.ts'
import { EngineError, type EngineErrorCode } from '../engine/index.ts'
import type { RefusalCode } from '../net/index.ts'
import { type Rows, splitRows } from './frames.ts'

/** Frames up to this many rows are decoding (or a draft to verify), and go before prompts. */
const DECODE_ROWS = 16

export interface Computed {
  readonly rows: Rows
  readonly result: GroupResult
  readonly queueMs: number
  readonly computeMs: number
}

/** A session as the batcher sees it. */
export interface Lane {
  readonly sequence: number
  /** The output a mid-chain stage gives, or undefined for the tail. */
  readonly leaveAfter: number | undefined
  computed(value: Computed): void
  /** Must not throw. */
  failed(code: RefusalCode, message: string): void
}

interface Waiting {
  readonly rows: Rows
  readonly since: number
}

interface Queue {
  waiting: Waiting[]
  /** Reasons to leave the lane alone: see `hold`. */
  holds: number
}

export class Batcher {
  readonly #engine: Engine
  /** In the order in which lanes are served. */
  readonly #queues = new Map<Lane, Queue>()
  #running = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  add(lane: Lane): void {
    this.#queues.set(lane, { waiting: [], holds: 0 })
  }

  remove(lane: Lane): void {
    this.#queues.delete(lane)
  }

  /** Rows of a lane that wait, for back-pressure. */
  waitingRows(lane: Lane): number {
    return this.#queues.get(lane)?.waiting.reduce((sum, { rows }) => sum + rows.tokens.length, 0) ?? 0
  }

  push(lane: Lane, rows: Rows): void {
    this.#queues.get(lane)?.waiting.push({ rows, since: performance.now() })
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
    this.hold(lane)
    try {
      return await this.#engine.truncate(lane.sequence, length)
    } catch (error) {
      lane.failed('engine', messageOf(error))
      return 0
    } finally {
      this.resume(lane)
    }
  }

  failAll(code: RefusalCode, message: string): void {
    for (const lane of [...this.#queues.keys()]) lane.failed(code, message)
  }

  async #run(): Promise<void> {
    if (this.#running) return
    this.#running = true
    try {
      for (let batch = this.#next(); batch.size > 0; batch = this.#next()) await this.#compute(batch)
    } finally {
      this.#running = false
    }
  }

  /** Short frames of all lanes first, then prompts, up to the engine's rows and logits. */
  #next(): Map<Lane, Waiting> {
    const { maxRows, maxOutputs } = this.#engine.description
    const batch = new Map<Lane, Waiting>()
    let rowsLeft = maxRows
    let outputsLeft = maxOutputs
    const ready = [...this.#queues].filter(([, { waiting, holds }]) => waiting.length > 0 && holds === 0)
    const isShort = ([, { waiting }]: [Lane, Queue]): boolean =>
      (waiting[0] as Waiting).rows.tokens.length <= DECODE_ROWS
    const ordered = [...ready.filter(isShort), ...ready.filter((entry) => !isShort(entry))]
    for (const [lane, queue] of ordered) {
      const { rows, since } = queue.waiting[0] as Waiting
      const count = Math.min(
        rowsLeft,
        lane.leaveAfter === undefined ? rowsWithin(rows, outputsLeft) : rowsLeft
      )
      if (count === 0) continue
      const [now, later] = splitRows(rows, count)
      if (later === undefined) queue.waiting.shift()
      else queue.waiting[0] = { rows: later, since }
      batch.set(lane, { rows: now, since })
      rowsLeft -= now.tokens.length
      if (lane.leaveAfter === undefined) outputsLeft -= outputsOf(now)
      // The next step begins with others: whoever was served goes to the end of the line.
      this.#queues.delete(lane)
      this.#queues.set(lane, queue)
    }
    return batch
  }

  async #compute(batch: Map<Lane, Waiting>): Promise<void> {
    const started = performance.now()
    const entries = [...batch]
    try {
      const { groups, computeMs } = await this.#engine.run(
        entries.map(([lane, { rows }]) => groupOf(lane, rows))
      )
      for (const [index, [lane, { rows, since }]] of entries.entries()) {
        const result = groups[index] as GroupResult
        if (result.error === undefined) {
          this.#deliver(lane, { rows, result, queueMs: started - since, computeMs })
        } else {
          lane.failed(codeOf(result.error), result.error.message)
        }
      }
    } catch (error) {
      // The engine refused or lost the whole batch: nobody's rows are in the cache.
      if (codeOf(error) === 'input' && entries.length > 1) {
        // Somebody's rows are not ones that it takes: nobody else's session ends for that.
        for (const entry of entries) if (this.#queues.has(entry[0])) await this.#compute(new Map([entry]))
        return
      }
      for (const [lane] of entries) lane.failed(codeOf(error), messageOf(error))
    }
  }

  #deliver(lane: Lane, computed: Computed): void {
    if (!this.#queues.has(lane)) return
    try {
      lane.computed(computed)
    } catch (error) {
      lane.failed('engine', messageOf(error))
    }
  }
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

function outputsOf(rows: Rows): number {
  if (rows.sample === 'none') return 0
  return rows.sample === 'all' ? rows.tokens.length : 1
}

/** How many of the first rows need no more than `outputs` logits. */
function rowsWithin({ tokens, sample }: Rows, outputs: number): number {
  if (sample === 'all') return Math.min(tokens.length, outputs)
  return sample === 'last' && outputs === 0 ? tokens.length - 1 : tokens.length
}

const CODES: Partial<Record<EngineErrorCode, RefusalCode>> = { KV_FULL: 'full', INPUT: 'input' }

/** What a consumer hears of an engine's error. */
export function codeOf(error: unknown): RefusalCode {
  return (error instanceof EngineError ? CODES[error.code] : undefined) ?? 'engine'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
