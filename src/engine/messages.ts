/** What crosses between the engine's process and its parent, and how rows are laid out in the body. */

import type { QuantizeSettings, ScoredRun, TextRun } from './adaptation.ts'
import type { BatchResult, DrawLogs, GroupResult, Output, RowGroup, SamplerSettings } from './contract.ts'
import type { EngineErrorCode } from './errors.ts'
import { EngineError } from './errors.ts'
import type { LoadedInit, SpanMetadata } from './llama/load.ts'
import type { ImatrixHead } from './llama/quantize.ts'

export type Request =
  | { readonly op: 'load'; readonly init: LoadedInit; readonly metadata: SpanMetadata }
  | { readonly op: 'run'; readonly groups: readonly GroupHead[] }
  | { readonly op: 'truncate'; readonly sequence: number; readonly length: number }
  | { readonly op: 'copy'; readonly from: number; readonly to: number; readonly length: number }
  | { readonly op: 'drop'; readonly sequence: number }
  | { readonly op: 'save'; readonly sequence: number }
  | { readonly op: 'restore'; readonly sequence: number; readonly tokens: number }
  | { readonly op: 'sampler'; readonly sequence: number; readonly settings: SamplerSettings }
  | {
      readonly op: 'tokenize'
      readonly text: string
      readonly addSpecial: boolean
      readonly parseSpecial: boolean
    }
  | { readonly op: 'pieces'; readonly special: boolean }
  | { readonly op: 'devices' }
  | { readonly op: 'memory' }
  | { readonly op: 'quantize'; readonly settings: QuantizeSettings & { readonly imatrix?: ImatrixHead } }
  | { readonly op: 'importance'; readonly run: TextRun }
  | { readonly op: 'score'; readonly run: ScoredRun }

/** A group without its arrays, which follow in the body in this order: ids, then hidden states. */
export interface GroupHead {
  readonly sequence: number
  readonly position: number
  readonly rows: number
  readonly injected: boolean
  readonly output: Output
  readonly leaveAfter?: number
}

export interface ErrorHead {
  readonly code: EngineErrorCode
  readonly message: string
}

/** Lengths in elements; -1: absent. */
interface ResultHead {
  readonly error?: ErrorHead
  readonly hidden: number
  readonly sampled: number
  /** Beside each drawn token's own. */
  readonly alternatives: number
  readonly logits: number
}

/** Hands out consecutive typed views of a body. */
class BodyReader {
  readonly #body: Uint8Array
  #offset = 0

  constructor(body: Uint8Array) {
    this.#body = body
  }

  ints(count: number): Int32Array {
    return new Int32Array(this.#body.buffer, this.#advance(count), count)
  }

  floats(count: number): Float32Array {
    return new Float32Array(this.#body.buffer, this.#advance(count), count)
  }

  #advance(count: number): number {
    const start = this.#body.byteOffset + this.#offset
    this.#offset += count * 4
    return start
  }
}

export function encodeGroups(groups: readonly RowGroup[]): { heads: GroupHead[]; parts: ArrayBufferView[] } {
  const parts: ArrayBufferView[] = []
  const heads = groups.map(({ tokens, hidden, sequence, position, output, leaveAfter }) => {
    parts.push(tokens)
    if (hidden !== undefined) parts.push(hidden)
    return { sequence, position, output, leaveAfter, rows: tokens.length, injected: hidden !== undefined }
  })
  return { heads, parts }
}

export function decodeGroups(heads: readonly GroupHead[], body: Uint8Array, width: number): RowGroup[] {
  const reader = new BodyReader(body)
  return heads.map(({ rows, injected, ...rest }) => {
    const tokens = reader.ints(rows)
    return injected ? { ...rest, tokens, hidden: reader.floats(rows * width) } : { ...rest, tokens }
  })
}

export function encodeResult(result: BatchResult): {
  head: Record<string, unknown>
  parts: ArrayBufferView[]
} {
  const parts: ArrayBufferView[] = []
  const groups = result.groups.map(({ error, hidden, sampled, logs, logits }): ResultHead => {
    const all = [hidden, sampled, logs?.drawn, logs?.tokens, logs?.logs, logits]
    for (const part of all) if (part !== undefined) parts.push(part)
    return {
      ...(error === undefined ? {} : { error: { code: error.code, message: error.message } }),
      hidden: hidden?.length ?? -1,
      sampled: sampled?.length ?? -1,
      alternatives: logs === undefined ? -1 : logs.tokens.length / logs.drawn.length,
      logits: logits?.length ?? -1
    }
  })
  return { head: { groups, computeMs: result.computeMs }, parts }
}

export function decodeResult(head: Record<string, unknown>, body: Uint8Array): BatchResult {
  const reader = new BodyReader(body)
  const groups = (head.groups as ResultHead[]).map(
    ({ error, hidden, sampled, alternatives, logits }): GroupResult => ({
      ...(error === undefined ? {} : { error: new EngineError(error.code, error.message) }),
      ...(hidden < 0 ? {} : { hidden: reader.floats(hidden) }),
      ...(sampled < 0 ? {} : { sampled: reader.ints(sampled) }),
      ...(alternatives < 0 ? {} : { logs: readLogs(reader, sampled, alternatives) }),
      ...(logits < 0 ? {} : { logits: reader.floats(logits) })
    })
  )
  return { groups, computeMs: head.computeMs as number }
}

function readLogs(reader: BodyReader, draws: number, alternatives: number): DrawLogs {
  return {
    drawn: reader.floats(draws),
    tokens: reader.ints(draws * alternatives),
    logs: reader.floats(draws * alternatives)
  }
}
