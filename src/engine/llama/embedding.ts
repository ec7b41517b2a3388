/** Looks up token embeddings in a file, with ggml's own dequantization (bit-equal to its `get_rows`). */
import { closeSync, openSync, readSync } from 'node:fs'
import koffi from 'koffi'
import type { EmbeddingTable } from '../contract.ts'
import { EngineError } from '../errors.ts'
import type { Llama, Pointer } from './library.ts'
import { GGML_TYPE, ToFloat, TYPE_TRAITS_TO_FLOAT } from './structs.ts'

export class EmbeddingLookup {
  readonly #table: EmbeddingTable
  readonly #file: number
  readonly #row: Uint8Array
  readonly #toFloat: Pointer | null
  readonly #scale: number

  /** `scale`: what the architecture multiplies embedded ids by, but not injected rows (Gemma 3). */
  constructor(llama: Llama, table: EmbeddingTable, scale: number) {
    this.#table = table
    this.#row = new Uint8Array(table.rowBytes)
    this.#scale = Math.fround(scale)
    const traits = llama.ggml_get_type_traits(table.type) as Pointer
    const toFloat = BigInt(koffi.decode.uint64(traits + BigInt(TYPE_TRAITS_TO_FLOAT)))
    if (toFloat === 0n && table.type !== GGML_TYPE.f32) {
      throw new EngineError('LOAD_FAILED', `The embedding has type ${table.type}, which ggml cannot read.`)
    }
    this.#toFloat = table.type === GGML_TYPE.f32 ? null : toFloat
    this.#file = openSync(table.file, 'r')
  }

  /** Writes `[tokens, width]` to `out`. Ids must be inside the vocabulary. */
  lookup(tokens: Int32Array, out: Float32Array): void {
    const { offset, rowBytes } = this.#table
    const width = out.length / tokens.length
    for (let index = 0; index < tokens.length; index++) {
      const read = readSync(this.#file, this.#row, 0, rowBytes, offset + (tokens[index] as number) * rowBytes)
      if (read !== rowBytes) throw new EngineError('COMPUTE', `${this.#table.file} is shorter than it was.`)
      const target = out.subarray(index * width, (index + 1) * width)
      if (this.#toFloat === null) {
        new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(this.#row)
      } else {
        koffi.call(this.#toFloat, ToFloat, this.#row, target, width)
      }
    }
    if (this.#scale !== 1) {
      for (let index = 0; index < out.length; index++) out[index] = (out[index] as number) * this.#scale
    }
  }

  close(): void {
    closeSync(this.#file)
  }
}
