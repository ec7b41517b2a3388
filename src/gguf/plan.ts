// A GGUF file before it is written: its header's bytes, and where each tensor's bytes come from and go to.
import { HeaderBytes } from './encode.ts'
import { GgufError } from './errors.ts'
import { align, DEFAULT_ALIGNMENT, isPowerOfTwo, MAGIC } from './header.ts'
import { TENSOR_TYPES, tensorByteLength } from './tensor-types.ts'
import type { ByteSource, Metadata } from './types.ts'

/**
 * Where a tensor's bytes come from: a range of a source that begins at `offset` (bytes) and is as long as the tensor,
 * bytes in memory, or a function that makes them in chunks, anew with each call.
 */
export type TensorData =
  | { readonly source: ByteSource; readonly offset: number }
  | Uint8Array
  | (() => Iterable<Uint8Array> | AsyncIterable<Uint8Array>)

export interface TensorToWrite {
  readonly name: string
  /** Innermost first. */
  readonly dims: readonly number[]
  /** A name in TENSOR_TYPES. */
  readonly type: string
  readonly data: TensorData
}

export interface PlannedTensor extends TensorToWrite {
  /** From the start of the file, in bytes. */
  readonly offset: number
  readonly byteLength: number
}

export interface GgufPlan {
  readonly metadata: Metadata
  /** Everything before the first tensor's bytes, padding included. */
  readonly header: Uint8Array
  /** In the order of the file. */
  readonly tensors: readonly PlannedTensor[]
  readonly alignment: number
  /** Length of the whole file. */
  readonly byteLength: number
}

export interface PlanInit {
  /** `general.alignment` in it (u32) sets the alignment; 32 bytes without. */
  readonly metadata: Metadata
  readonly tensors: readonly TensorToWrite[]
}

/**
 * Lays out a GGUF file (version 3): nothing is read or written yet, and the length of the file is known. Each tensor
 * starts where the padded one before ends, which llama.cpp insists on.
 *
 * Throws a GgufError when a value isn't one of its type, or a tensor's shape or name is impossible.
 */
export function planGguf({ metadata, tensors }: PlanInit): GgufPlan {
  const alignment = plannedAlignment(metadata)
  const bytes = new HeaderBytes()
  bytes.u32(MAGIC)
  bytes.u32(3)
  bytes.u64(tensors.length)
  bytes.u64(metadata.size)
  for (const [key, value] of metadata) {
    encoding(`key ${JSON.stringify(key)}`, () => {
      bytes.text(key)
      bytes.value(value)
    })
  }
  const names = new Set<string>()
  const relative: PlannedTensor[] = []
  let end = 0
  for (const tensor of tensors) {
    const what = `tensor ${JSON.stringify(tensor.name)}`
    if (names.has(tensor.name)) throw new GgufError('WRITE', 0, `${what} is there twice`)
    names.add(tensor.name)
    const byteLength = encoding(what, () => encodeTensor(bytes, tensor, end))
    if (tensor.data instanceof Uint8Array && tensor.data.byteLength !== byteLength) {
      throw new GgufError('WRITE', 0, `${what} has ${tensor.data.byteLength} bytes instead of ${byteLength}`)
    }
    relative.push({ ...tensor, offset: end, byteLength })
    end += align(byteLength, alignment)
  }
  bytes.zeros(align(bytes.length, alignment) - bytes.length)
  const header = bytes.take()
  const placed = relative.map((tensor) => ({ ...tensor, offset: header.byteLength + tensor.offset }))
  return { metadata, header, tensors: placed, alignment, byteLength: header.byteLength + end }
}

function plannedAlignment(metadata: Metadata): number {
  const entry = metadata.get('general.alignment')
  if (entry === undefined) return DEFAULT_ALIGNMENT
  if (entry.type === 'u32' && typeof entry.value === 'number' && isPowerOfTwo(entry.value)) return entry.value
  throw new GgufError(
    'WRITE',
    0,
    `general.alignment is ${entry.type} ${String(entry.value)}, no u32 power of two`
  )
}

function encodeTensor(bytes: HeaderBytes, tensor: TensorToWrite, offset: number): number {
  const byteLength = tensorByteLength(tensor.type, tensor.dims)
  bytes.text(tensor.name)
  bytes.u32(tensor.dims.length)
  for (const dim of tensor.dims) bytes.u64(dim)
  bytes.u32(TENSOR_TYPES[tensor.type]!.id)
  bytes.u64(offset)
  return byteLength
}

/** Runs something that throws RangeErrors, and makes them say what was being encoded. */
function encoding<Result>(what: string, encode: () => Result): Result {
  try {
    return encode()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new GgufError('WRITE', 0, `${what} can't be written: ${error.message}`, { cause: error })
  }
}
