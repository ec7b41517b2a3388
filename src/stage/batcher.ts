/** One loop for all sessions of a stage: each step takes rows of everybody who waits and runs them together. */
import type { Engine, GroupResult, Output, RowGroup } from '../engine/index.ts'
import { EngineError } from '../engine/index.ts'
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
  failed(code: RefusalCode, message: string): void
}

interface Waiting {
  readonly rows: Rows
  readonly since: number
}

export class Batcher {
  readonly #engine: Engine
  readonly #queues = new Map<Lane, Waiting[]>()
  /** Lanes that wait for the engine to cut their sequence. */
  readonly #cutting = new Set<Lane>()
  #running = false

  constructor(engine: Engine) {
    this.#engine = engine
  }

  add(lane: Lane): void {
    this.#queues.set(lane, [])
  }

  remove(lane: Lane): void {
    this.#queues.delete(lane)
  }

  /** Rows of a lane that wait, for back-pressure. */
  waitingRows(lane: Lane): number {
    return this.#queues.get(lane)?.reduce((sum, { rows }) => sum + rows.tokens.length, 0) ?? 0
  }

  push(lane: Lane, rows: Rows): void {
    this.#queues.get(lane)?.push({ rows, since: performance.now() })
    void this.#run()
  }

  /**
   * Cuts a lane to `length`: rows that still wait are trimmed, and the engine's sequence is cut if they were not
   * all of it. Resolves to the length that is left; nothing of the lane runs until then.
   */
  async truncate(lane: Lane, length: number): Promise<number> {
    const queue = this.#queues.get(lane) ?? []
    const kept = queue.flatMap((waiting) => {
      const before = length - waiting.rows.position
      if (before <= 0) return []
      return [{ ...waiting, rows: splitRows(waiting.rows, before)[0] }]
    })
    this.#queues.set(lane, kept)
    this.#cutting.add(lane)
    try {
      return await this.#engine.truncate(lane.sequence, length)
    } catch (error) {
      lane.failed('engine', messageOf(error))
      return 0
    } finally {
      this.#cutting.delete(lane)
      void this.#run()
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
    const take = (lane: Lane, queue: Waiting[]): void => {
      const first = queue[0] as Waiting
      const limit = lane.leaveAfter === undefined && first.rows.sample === 'all' ? outputsLeft : rowsLeft
      const [now, later] = splitRows(first.rows, Math.min(limit, rowsLeft))
      if (later === undefined) queue.shift()
      else queue[0] = { rows: later, since: first.since }
      batch.set(lane, { rows: now, since: first.since })
      rowsLeft -= now.tokens.length
      if (lane.leaveAfter === undefined) outputsLeft -= outputsOf(now)
    }
    const waiting = [...this.#queues].filter(([lane, queue]) => queue.length > 0 && !this.#cutting.has(lane))
    const isShort = ([first]: Waiting[]): boolean => (first as Waiting).rows.tokens.length <= DECODE_ROWS
    const ordered = [
      ...waiting.filter(([, queue]) => isShort(queue)),
      ...waiting.filter(([, queue]) => !isShort(queue))
    ]
    for (const [lane, queue] of ordered) {
      if (rowsLeft > 0 && outputsLeft > 0) take(lane, queue)
    }
    // The next step begins with others: whoever was served goes to the end of the line.
    for (const lane of batch.keys()) {
      const queue = this.#queues.get(lane) as Waiting[]
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
        if (!this.#queues.has(lane)) continue
        const result = groups[index] as GroupResult
        if (result.error === undefined) {
          lane.computed({ rows, result, queueMs: started - since, computeMs })
        } else {
          lane.failed(result.error.code === 'KV_FULL' ? 'full' : 'engine', result.error.message)
        }
      }
    } catch (error) {
      // The engine refused or lost the whole batch: nobody's rows are in the cache.
      for (const [lane] of entries) lane.failed('engine', messageOf(error))
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

function messageOf(error: unknown): string {
  return error instanceof EngineError ? error.message : String(error)
}
