/**
 * The importance matrix of llama-imatrix (I. Kawrakow): for each weight matrix the sums of the squares of what it was
 * multiplied with, column by column, and of how many rows.
 */
import koffi from 'koffi'
import type { ImportanceSums, TextRun } from '../adaptation.ts'
import { EngineError } from '../errors.ts'
import { ChunkedModel, chunkCount } from './chunks.ts'
import type { Llama, Pointer } from './library.ts'
import { EvalCallback, GGML_OP, GGML_TYPE, TENSOR } from './structs.ts'

/** Fewer rows say too little, llama-imatrix holds, and leaves them out. */
const LEAST_ROWS = 16

type Shape = [number, number, number, number]

interface Sums {
  readonly sums: Float32Array
  /** Wider than a float, which can't count beyond 2^24. */
  readonly counts: Float64Array
}

export function collectImportance(
  llama: Llama,
  init: TextRun,
  text: string,
  onProgress: (fraction: number) => void
): ImportanceSums {
  const collector = new Collector(llama)
  const callback = koffi.register(
    (tensor: Pointer, ask: boolean) => (ask ? collector.wants(tensor) : collector.take(tensor)),
    koffi.pointer(EvalCallback)
  )
  const model = new ChunkedModel(llama, init, callback)
  const tokens = model.tokenize(text)
  const chunks = chunkCount(tokens, init.context, init.chunks)
  for (const batch of model.batches(chunks)) {
    model.decode(tokens, batch, 0) // the last block drops rows that nobody asks for
    if (collector.error !== undefined) throw collector.error
    onProgress((batch.chunk + batch.count) / chunks)
  }
  const sorted = [...collector.entries].sort(([a], [b]) => (a < b ? -1 : 1))
  const entries = sorted.map(([name, { sums, counts }]) => {
    if (!sums.every(Number.isFinite)) {
      throw new EngineError('COMPUTE', `The inputs of ${name} are not all numbers: the model is broken.`)
    }
    return { name, sums, counts: Float32Array.from(counts) }
  })
  return { chunks, entries }
}

class Collector {
  readonly entries = new Map<string, Sums>()
  error: unknown
  readonly #llama: Llama
  #inputs = new Float32Array()

  constructor(llama: Llama) {
    this.#llama = llama
  }

  wants(tensor: Pointer): boolean {
    const op = koffi.decode.int32(tensor + BigInt(TENSOR.op))
    if (op === GGML_OP.MUL_MAT_ID) return true
    if (op !== GGML_OP.MUL_MAT) return false
    const inputs = source(tensor, 1)
    const isFloat = koffi.decode.int32(inputs + BigInt(TENSOR.type)) === GGML_TYPE.f32
    return isFloat && four(inputs, TENSOR.ne)[1] >= LEAST_ROWS && weightName(tensor).startsWith('blk.')
  }

  /** Returns whether the graph goes on. Never throws: an exception can't cross llama.cpp's frames. */
  take(tensor: Pointer): boolean {
    try {
      if (koffi.decode.int32(tensor + BigInt(TENSOR.op)) === GGML_OP.MUL_MAT) this.#takeDense(tensor)
      else this.#takeExperts(tensor)
      return true
    } catch (error) {
      this.error = error
      return false
    }
  }

  /** Activations of more dimensions than the weights have count as more rows. */
  #takeDense(tensor: Pointer): void {
    const [, , depth, outer] = four(source(tensor, 0), TENSOR.ne)
    const inputs = source(tensor, 1)
    const [columns, rows, ...more] = four(inputs, TENSOR.ne)
    const [, ...strides] = four(inputs, TENSOR.nb)
    const { sums, counts } = this.#entry(tensor, columns, depth * outer, 1)
    const values = this.#read(inputs)
    for (let i3 = 0; i3 < more[1]; i3++) {
      for (let i2 = 0; i2 < more[0]; i2++) {
        const matrix = (i3 % outer) * depth + (i2 % depth)
        for (let row = 0; row < rows; row++) {
          const start = (row * strides[0] + i2 * strides[1] + i3 * strides[2]) / 4
          addSquares(sums, matrix * columns, values, start, columns)
        }
      }
    }
    counts[0] = (counts[0] as number) + (rows * more[0] * more[1]) / (depth * outer)
  }

  /** `inputs` is `[columns, experts used or 1, rows]`, and the expert of each in `ids` `[experts used, rows]`. */
  #takeExperts(tensor: Pointer): void {
    const [, , experts] = four(source(tensor, 0), TENSOR.ne)
    const [inputs, ids] = [source(tensor, 1), source(tensor, 2)]
    const [columns, perRow, rows] = four(inputs, TENSOR.ne)
    const [, rowStride, outerStride] = four(inputs, TENSOR.nb)
    const [used] = four(ids, TENSOR.ne)
    const [idStride, idRowStride] = four(ids, TENSOR.nb)
    const { sums, counts } = this.#entry(tensor, columns, experts, experts)
    const chosen = new Int32Array(Number(this.#llama.ggml_nbytes(ids)) / 4)
    this.#llama.ggml_backend_tensor_get(ids, chosen, 0, chosen.byteLength)
    const values = this.#read(inputs)
    for (let index = 0; index < used; index++) {
      for (let row = 0; row < rows; row++) {
        const expert = chosen[(row * idRowStride + index * idStride) / 4] as number
        const start = ((index % perRow) * rowStride + row * outerStride) / 4
        addSquares(sums, expert * columns, values, start, columns)
        counts[expert] = (counts[expert] as number) + 1
      }
    }
  }

  #entry(tensor: Pointer, columns: number, matrices: number, counted: number): Sums {
    const name = weightName(tensor)
    const known = this.entries.get(name)
    if (known?.sums.length === columns * matrices) return known
    if (known !== undefined)
      throw new EngineError('COMPUTE', `${name} is used with inputs of different widths.`)
    const entry = { sums: new Float32Array(columns * matrices), counts: new Float64Array(counted) }
    this.entries.set(name, entry)
    return entry
  }

  /** The bytes of a tensor as floats, padding between its rows included; valid until the next call. */
  #read(tensor: Pointer): Float32Array {
    const bytes = Number(this.#llama.ggml_nbytes(tensor))
    if (this.#inputs.byteLength < bytes) this.#inputs = new Float32Array(bytes / 4)
    this.#llama.ggml_backend_tensor_get(tensor, this.#inputs, 0, bytes)
    return this.#inputs
  }
}

/** Rounded as in C without fused multiply-add: after the product, and when it is stored. */
function addSquares(
  sums: Float32Array,
  to: number,
  values: Float32Array,
  from: number,
  columns: number
): void {
  for (let column = 0; column < columns; column++) {
    const value = values[from + column] as number
    sums[to + column] = (sums[to + column] as number) + Math.fround(value * value)
  }
}

function source(tensor: Pointer, index: number): Pointer {
  return BigInt(koffi.decode.uint64(tensor + BigInt(TENSOR.src + index * 8)))
}

function four(tensor: Pointer, offset: number): Shape {
  return [0, 8, 16, 24].map((at) => Number(koffi.decode.int64(tensor + BigInt(offset + at)))) as Shape
}

/** A copy of weights on another device has a name like `CUDA0#blk.0.attn_k.weight#0`. */
function weightName(tensor: Pointer): string {
  const name = koffi.decode.string(source(tensor, 0) + BigInt(TENSOR.name))
  return name.split('#')[1] ?? name
}
