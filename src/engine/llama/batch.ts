/** The arrays of a `llama_batch`, in memory that stays put, written through typed views. */
import type { RowGroup } from '../contract.ts'
import { allocate } from './memory.ts'

export class BatchBuffers {
  /** Hidden states of the batch, `[rows, width]`: what is injected. */
  readonly hidden: Float32Array
  rows = 0
  readonly #width: number
  readonly #tokens: Int32Array
  readonly #positions: Int32Array
  readonly #sequenceCounts: Int32Array
  readonly #sequences: Int32Array
  readonly #outputs: Int8Array
  readonly #pointers: Record<'token' | 'embd' | 'pos' | 'n_seq_id' | 'seq_id' | 'logits', bigint>
  #injected = false

  /** With a width of 0 its rows are ids only. */
  constructor(maxRows: number, width: number) {
    this.#width = width
    const tokens = allocate(maxRows * 4)
    const hidden = width === 0 ? { pointer: 0n, memory: new ArrayBuffer(0) } : allocate(maxRows * width * 4)
    const positions = allocate(maxRows * 4)
    const counts = allocate(maxRows * 4)
    const sequences = allocate(maxRows * 4)
    const sequencePointers = allocate(maxRows * 8)
    const outputs = allocate(maxRows)
    this.hidden = new Float32Array(hidden.memory)
    this.#tokens = new Int32Array(tokens.memory)
    this.#positions = new Int32Array(positions.memory)
    this.#sequenceCounts = new Int32Array(counts.memory)
    this.#sequences = new Int32Array(sequences.memory)
    this.#outputs = new Int8Array(outputs.memory)
    const rowPointers = new BigUint64Array(sequencePointers.memory)
    for (let row = 0; row < maxRows; row++) rowPointers[row] = sequences.pointer + BigInt(row * 4)
    this.#sequenceCounts.fill(1)
    this.#pointers = {
      token: tokens.pointer,
      embd: hidden.pointer,
      pos: positions.pointer,
      n_seq_id: counts.pointer,
      seq_id: sequencePointers.pointer,
      logits: outputs.pointer
    }
  }

  clear(): void {
    this.rows = 0
  }

  /** Appends a group's rows, as ids or (with `hidden`) as hidden states. A batch is all of one or the other. */
  add(
    group: Omit<RowGroup, 'output'>,
    hidden: Float32Array | undefined,
    outputs: 'none' | 'last' | 'all'
  ): void {
    const start = this.rows
    const count = group.tokens.length
    this.#injected = hidden !== undefined
    if (hidden !== undefined) this.hidden.set(hidden, start * this.#width)
    this.#tokens.set(group.tokens, start)
    for (let index = 0; index < count; index++) {
      this.#positions[start + index] = group.position + index
      this.#sequences[start + index] = group.sequence
    }
    this.#outputs.fill(outputs === 'all' ? 1 : 0, start, start + count)
    if (outputs === 'last') this.#outputs[start + count - 1] = 1
    this.rows += count
  }

  /** The struct for llama_decode. */
  get struct(): Record<string, unknown> {
    const { token, embd, ...rest } = this.#pointers
    return {
      n_tokens: this.rows,
      token: this.#injected ? null : token,
      embd: this.#injected ? embd : null,
      ...rest
    }
  }
}
