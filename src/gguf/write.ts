import { GgufError } from './errors.ts'
import { align } from './header.ts'
import type { GgufPlan, PlannedTensor } from './plan.ts'
import type { ByteSink } from './types.ts'

/** Large enough that a disk or a peer is busy with one, small enough that memory does not matter. */
const CHUNK_BYTES = 1024 * 1024

export interface WriteOptions {
  readonly signal?: AbortSignal
  /** Called after every chunk, at most 1 MiB apart; both in bytes. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly total: number }) => void
}

/**
 * Writes a planned file to `sink`, in order, in chunks of at most 1 MiB, one at a time.
 *
 * Throws a GgufError when a tensor's data turn out longer or shorter than planned, the signal's reason when aborted,
 * and whatever a source or the sink throws. What was written until then stays where it is.
 */
export async function writeGguf(sink: ByteSink, plan: GgufPlan, options: WriteOptions = {}): Promise<void> {
  const { signal, onProgress } = options
  let bytes = 0
  for await (const chunk of fileChunks(plan, signal)) {
    signal?.throwIfAborted()
    await sink.write(chunk)
    bytes += chunk.byteLength
    onProgress?.({ bytes, total: plan.byteLength })
  }
}

async function* fileChunks(plan: GgufPlan, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  yield* split(plan.header)
  for (const tensor of plan.tensors) {
    let length = 0
    for await (const chunk of tensorChunks(tensor, signal)) {
      length += chunk.byteLength
      if (length > tensor.byteLength) throw wrongLength(tensor, 'more')
      yield* split(chunk)
    }
    if (length < tensor.byteLength) throw wrongLength(tensor, 'less')
    yield* split(new Uint8Array(align(length, plan.alignment) - length))
  }
}

async function* tensorChunks(tensor: PlannedTensor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const { data, byteLength } = tensor
  if (typeof data === 'function') {
    yield* data()
  } else if (data instanceof Uint8Array) {
    yield data
  } else {
    for (let start = 0; start < byteLength; start += CHUNK_BYTES) {
      yield await data.source.read(data.offset + start, Math.min(CHUNK_BYTES, byteLength - start), signal)
    }
  }
}

function* split(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += CHUNK_BYTES) {
    yield bytes.subarray(start, start + CHUNK_BYTES)
  }
}

function wrongLength(tensor: PlannedTensor, how: 'more' | 'less'): GgufError {
  const message = `the data of tensor "${tensor.name}" has ${how} than the ${tensor.byteLength} bytes of its shape`
  return new GgufError('WRITE', tensor.offset, message)
}
