/** llama.cpp's array of candidate tokens (`llama_token_data_array`), in memory that it may rearrange. */
import koffi from 'koffi'
import type { Pointer } from './library.ts'
import { TokenData, TokenDataArray } from './structs.ts'

/** `{ int32 id, float logit, float p }`. */
const WORDS = 3

export class Candidates {
  /** For llama_sampler_apply. */
  readonly array: Pointer
  readonly #data: Pointer
  readonly #ids: Int32Array
  readonly #logits: Float32Array

  /** Room for `size` candidates (at least one). */
  constructor(size: number) {
    const cells = Math.max(1, size)
    this.array = koffi.alloc(TokenDataArray, 1)
    this.#data = koffi.alloc(TokenData, cells)
    const memory = koffi.view(this.#data, cells * WORDS * 4)
    this.#ids = new Int32Array(memory)
    this.#logits = new Float32Array(memory)
  }

  /** One candidate per logit; those whose `mask` is 0 can't be drawn. */
  fill(logits: Float32Array, mask?: Uint8Array): void {
    for (let id = 0, cell = 0; id < logits.length; id++, cell += WORDS) {
      this.#ids[cell] = id
      this.#logits[cell + 1] = mask?.[id] === 0 ? Number.NEGATIVE_INFINITY : (logits[id] as number)
      this.#logits[cell + 2] = 0
    }
    this.#reset(logits.length)
  }

  #reset(size: number): void {
    koffi.encode(this.array, TokenDataArray, { data: this.#data, size, selected: -1, sorted: false })
  }

  /** The id that the samplers selected. */
  selected(): number {
    const { selected } = koffi.decode(this.array, TokenDataArray) as { selected: number | bigint }
    return this.#ids[Number(selected) * WORDS] as number
  }

  free(): void {
    koffi.free(this.array)
    koffi.free(this.#data)
  }
}
