/**
 * The callback that llama.cpp calls for every node of a graph (`cb_eval`). It reads the hidden states that
 * leave a block (tensor `l_out-<block>`), stops the graph where nobody needs what follows, and overwrites the
 * input of architectures that scale whatever comes in.
 */
import koffi from 'koffi'
import { EngineError } from '../errors.ts'
import type { Llama, Pointer } from './library.ts'
import { EvalCallback, TENSOR } from './structs.ts'

const NAME = BigInt(TENSOR.name)
const SHAPE = BigInt(TENSOR.ne)
/** The four bytes of 'l_ou', read as a little-endian integer: most nodes are ruled out by one comparison. */
const OUTPUT_START = 0x756f5f6c
const OUTPUT_PREFIX = 'l_out-'

/** Rows `[row, row + count)` of the batch leave after `block`, into `out` (`[count, width]`). */
export interface Exit {
  readonly block: number
  readonly row: number
  readonly out: Float32Array
}

export interface Watch {
  readonly rows: number
  readonly exits: readonly Exit[]
  /** The last block whose output anyone needs; the graph stops there unless `head`. */
  readonly lastBlock: number
  /** Whether logits are needed, and so the whole graph. */
  readonly head: boolean
  /** Overwrites the tensor of that name with these rows. */
  readonly input?: { readonly name: string; readonly rows: Float32Array }
}

export class GraphWatcher {
  readonly callback: Pointer
  readonly #llama: Llama
  readonly #width: number
  #watch: Watch | undefined
  #seen = 0
  #error: unknown

  constructor(llama: Llama, width: number) {
    this.#llama = llama
    this.#width = width
    this.callback = koffi.register(
      (tensor: Pointer, ask: boolean) => (ask ? this.#wants(tensor) : this.#take(tensor)),
      koffi.pointer(EvalCallback)
    )
  }

  /** Calls `compute` (one llama_decode) under this watch. Throws when an expected tensor did not pass by. */
  during<T>(watch: Watch, compute: () => T): T {
    this.#watch = watch
    this.#seen = 0
    this.#error = undefined
    const result = compute()
    const expected = watch.exits.length
    this.#watch = undefined
    if (this.#error !== undefined) throw this.#error
    if (this.#seen !== expected && result === 0) {
      throw new EngineError('COMPUTE', `The graph gave ${this.#seen} of ${expected} hidden states.`)
    }
    return result
  }

  #wants(tensor: Pointer): boolean {
    const watch = this.#watch
    if (watch === undefined) return false
    const start = koffi.decode.int32(tensor + NAME)
    if (start !== OUTPUT_START) {
      return watch.input !== undefined && this.#name(tensor) === watch.input.name
    }
    const block = this.#block(tensor)
    if (block < 0) return false
    return watch.exits.some((exit) => exit.block === block) || (!watch.head && block === watch.lastBlock)
  }

  /** Returns whether the graph goes on. Never throws: an exception can't cross llama.cpp's frames. */
  #take(tensor: Pointer): boolean {
    const watch = this.#watch as Watch
    try {
      if (watch.input !== undefined && this.#name(tensor) === watch.input.name) {
        this.#checkShape(tensor, watch.rows)
        const { rows } = watch.input
        this.#llama.ggml_backend_tensor_set(tensor, rows, 0, watch.rows * this.#width * 4)
        return true
      }
      const block = this.#block(tensor)
      for (const exit of watch.exits) {
        if (exit.block !== block) continue
        this.#checkShape(tensor, watch.rows)
        const rowBytes = this.#width * 4
        this.#llama.ggml_backend_tensor_get(tensor, exit.out, exit.row * rowBytes, exit.out.byteLength)
        this.#seen++
      }
      return watch.head || block < watch.lastBlock
    } catch (error) {
      this.#error = error
      return false
    }
  }

  /** Fewer rows than were submitted mean that llama.cpp cut the batch: rows would be mixed up. */
  #checkShape(tensor: Pointer, rows: number): void {
    const columns = Number(koffi.decode.int64(tensor + SHAPE))
    const actual = Number(koffi.decode.int64(tensor + SHAPE + 8n))
    if (columns !== this.#width || actual !== rows) {
      throw new EngineError('COMPUTE', `A block gave [${actual}, ${columns}], not [${rows}, ${this.#width}].`)
    }
  }

  #name(tensor: Pointer): string {
    return koffi.decode.string(tensor + NAME)
  }

  #block(tensor: Pointer): number {
    const name = this.#name(tensor)
    return name.startsWith(OUTPUT_PREFIX) ? Number(name.slice(OUTPUT_PREFIX.length)) : -1
  }

  free(): void {
    koffi.unregister(this.callback)
  }
}
