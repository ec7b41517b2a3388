/** What a tail drew, and whether what comes after goes on so. */
import type { DrawLogs, GroupResult } from '../engine/index.ts'
import type { DrawLog, Tokens } from '../net/index.ts'
import type { Rows } from './frames.ts'

/** A consumer that comes back lacks what was under way when its connection broke: one message, or a draft's few. */
const KEPT = 64
const NONE = new Int32Array(0)

export class Draws {
  #kept: Tokens[] = []
  /** The last draw as the row that it is for, if the consumer goes on with it. */
  #next: { readonly epoch: number; readonly position: number; readonly token: number } | undefined

  /** What was drawn after rows, to tell the consumer; undefined where the grammar allowed nothing after the first. */
  add(rows: Rows, { sampled = NONE, logs }: GroupResult, sampler: number | undefined): Tokens | undefined {
    const { epoch, sample, tokens } = rows
    const position = sample === 'all' ? rows.position : rows.position + tokens.length - 1
    const refusedAt = sampled.indexOf(-1)
    const drawn = Array.from(refusedAt < 0 ? sampled : sampled.subarray(0, refusedAt))
    const token = drawn.at(-1)
    if (token === undefined) return undefined
    this.#next = { epoch, position: position + drawn.length, token }
    const message: Tokens = {
      ...{ type: 'tokens', epoch, position, tokens: drawn, sampler },
      logs: logsOf(logs, drawn)
    }
    this.#kept.push(message)
    if (this.#kept.length > KEPT) this.#kept.shift()
    return message
  }

  /** Whether rows begin right after the last draw, and with another id. */
  differ({ epoch, position, tokens }: Pick<Rows, 'epoch' | 'position' | 'tokens'>): boolean {
    const next = this.#next
    return next?.epoch === epoch && next.position === position && next.token !== tokens[0]
  }

  /** Those from rows at `drawFrom` and later, for a consumer that comes back. */
  from(drawFrom: number): Tokens[] {
    return this.#kept.filter(({ position, tokens }) => position + tokens.length > drawFrom)
  }

  truncate(length: number): void {
    this.#kept = this.#kept.filter(({ position }) => position < length)
  }
}

function logsOf(logs: DrawLogs | undefined, drawn: readonly number[]): DrawLog[] | undefined {
  if (logs === undefined) return undefined
  const count = logs.tokens.length / logs.drawn.length
  return drawn.map((_, draw) => ({
    log: logs.drawn[draw] as number,
    alternatives: Array.from(logs.tokens.subarray(draw * count, (draw + 1) * count), (token, index) => ({
      token,
      log: logs.logs[draw * count + index] as number
    }))
  }))
}
