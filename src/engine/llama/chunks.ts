/**
 * A text in chunks of equal length, each computed by itself: how llama-perplexity and llama-imatrix run a text. The
 * batches are made as they make them, since other batches give other roundings.
 */
import koffi from 'koffi'
import type { TextRun } from '../adaptation.ts'
import { EngineError } from '../errors.ts'
import { BatchBuffers } from './batch.ts'
import type { Llama, Pointer } from './library.ts'
import { attachThreads, loadModel } from './load.ts'
import { Vocabulary } from './vocabulary.ts'

/** llama.cpp's own defaults for rows per batch and per pass of the graph. */
const BATCH_ROWS = 2048
const PASS_ROWS = 512
/** For the logits of one batch; models with a large vocabulary get fewer chunks per batch. */
const LOGITS_BYTES = 2 ** 30

/** Rows `[start, start + length)` of `count` chunks beginning with `chunk`, chunk after chunk. */
export interface ChunkBatch {
  readonly chunk: number
  readonly count: number
  readonly start: number
  readonly length: number
}

export class ChunkedModel {
  readonly vocabulary: Vocabulary
  readonly #llama: Llama
  readonly #context: Pointer
  readonly #chunkLength: number
  /** Chunks that are computed together. */
  readonly #parallel: number
  readonly #beginsChunks: boolean
  readonly #batch: BatchBuffers

  constructor(llama: Llama, init: Omit<TextRun, 'chunks'>, evalCallback: Pointer | null = null) {
    const { files, threads, gpuLayers, context } = init
    const model = loadModel(llama, { files, gpuLayers, vocabularyOnly: false }, () => {})
    this.#llama = llama
    this.#chunkLength = context
    this.vocabulary = new Vocabulary(llama, llama.llama_model_get_vocab(model))
    this.#beginsChunks = llama.llama_vocab_get_add_bos(this.vocabulary.pointer)
    const { size } = this.vocabulary
    this.#parallel = Math.max(
      1,
      Math.floor(Math.min(BATCH_ROWS / context, LOGITS_BYTES / (size * 4 * context)))
    )
    const positions = this.#parallel * context
    const rows = Math.min(BATCH_ROWS, positions)
    this.#batch = new BatchBuffers(rows, 0)
    const pointer = llama.llama_init_from_model(model, {
      ...llama.llama_context_default_params(),
      n_ctx: positions,
      n_batch: rows,
      n_ubatch: PASS_ROWS,
      n_seq_max: this.#parallel,
      n_outputs_max_per_seq: 0, // all rows
      n_threads: threads,
      n_threads_batch: threads,
      cb_eval: evalCallback,
      swa_full: false // nothing is ever cut back
    }) as Pointer | null
    if (pointer === null) {
      throw new EngineError(
        'LOAD_FAILED',
        `No room for ${positions} positions of ${files[0]}: use a smaller context.`
      )
    }
    this.#context = pointer
    attachThreads(llama, pointer, threads)
  }

  /** Throws unless they are two chunks at least. */
  tokenize(text: string): Int32Array {
    if (this.#llama.llama_vocab_get_add_eos(this.vocabulary.pointer)) {
      throw new EngineError(
        'INPUT',
        'This model ends each text with a token of its own: chunks of one have none.'
      )
    }
    const tokens = this.vocabulary.tokenize(text, true, false)
    const least = 2 * this.#chunkLength
    if (tokens.length >= least) return tokens
    throw new EngineError(
      'INPUT',
      `The text has ${tokens.length} tokens; two chunks of ${this.#chunkLength} have ${least}. Use a longer text, or a smaller context.`
    )
  }

  *batches(chunks: number): Generator<ChunkBatch> {
    for (let chunk = 0; chunk < chunks; chunk += this.#parallel) {
      const count = Math.min(this.#parallel, chunks - chunk)
      for (let start = 0; start < this.#chunkLength; start += BATCH_ROWS) {
        yield { chunk, count, start, length: Math.min(BATCH_ROWS, this.#chunkLength - start) }
      }
    }
  }

  /** Computes a batch, with logits for the rows at position `outputsFrom` of their chunks and after. */
  decode(tokens: Int32Array, { chunk, count, start, length }: ChunkBatch, outputsFrom: number): void {
    if (start === 0) this.#llama.llama_memory_clear(this.#llama.llama_get_memory(this.#context), true)
    this.#batch.clear()
    const border = Math.min(Math.max(outputsFrom - start, 0), length)
    for (let sequence = 0; sequence < count; sequence++) {
      const offset = (chunk + sequence) * this.#chunkLength + start
      const rows = tokens.slice(offset, offset + length)
      if (start === 0 && this.#beginsChunks) rows[0] = this.vocabulary.beginToken
      const group = { sequence, position: start, tokens: rows.subarray(0, border) }
      if (border > 0) this.#batch.add(group, undefined, 'none')
      const rest = { sequence, position: start + border, tokens: rows.subarray(border) }
      if (border < length) this.#batch.add(rest, undefined, 'all')
    }
    const status = this.#llama.llama_decode(this.#context, this.#batch.struct) as number
    if (status !== 0) throw new EngineError('COMPUTE', `llama_decode gave up (status ${status}).`)
  }

  /** Of a row of the last batch; valid until the next one. */
  logits(row: number): Float32Array {
    const pointer = this.#llama.llama_get_logits_ith(this.#context, row)
    return new Float32Array(koffi.view(pointer, this.vocabulary.size * 4))
  }
}

/** How many chunks of a text are run: all, or as many as were asked for. */
export function chunkCount(tokens: Int32Array, context: number, most: number | undefined): number {
  return Math.min(Math.floor(tokens.length / context), most ?? Number.POSITIVE_INFINITY)
}
