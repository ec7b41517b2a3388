import { HeaderBytes } from './encode.ts'
import { TENSOR_TYPES } from './tensor-types.ts'
import type { GgufModel, TensorInfo } from './types.ts'

/** Enough of each tensor that retrained or requantized weights differ, little enough to ask a remote file for. */
const HEAD_BYTES = 4096

/** Reads at once: hides most of a remote source's round trips without flooding it. */
const READS_AT_ONCE = 8

/** Keys that say how a model is stored and not what it is. */
const STORAGE_PREFIXES = ['shoal.', 'split.']

/**
 * A name for a model's content: the hex SHA-256 of its metadata (sorted by key), its tensors' names, shapes and types
 * (sorted by name), and the first 4 KiB of each tensor. Files of other versions, orders or numbers of parts have the
 * same. It tells models apart; it does not prove that all of their bytes are right.
 *
 * Reads 4 KiB per tensor. Throws what a source throws, or the signal's reason.
 */
export async function fingerprint(model: GgufModel, signal?: AbortSignal): Promise<string> {
  const tensors = [...model.tensors.values()].sort((a, b) => order(a.name, b.name))
  const digests: Uint8Array[] = [await sha256(describe(model, tensors))]
  for (let start = 0; start < tensors.length; start += READS_AT_ONCE) {
    const group = tensors.slice(start, start + READS_AT_ONCE)
    digests.push(...(await Promise.all(group.map((tensor) => headDigest(model, tensor, signal)))))
  }
  // WebCrypto has no incremental hash: a hash of hashes keeps memory small.
  const all = new Uint8Array(digests.length * 32)
  for (const [index, digest] of digests.entries()) all.set(digest, index * 32)
  return Array.from(await sha256(all), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function describe(model: GgufModel, tensors: readonly TensorInfo[]): Uint8Array<ArrayBuffer> {
  const bytes = new HeaderBytes()
  const kept = [...model.metadata].filter(
    ([key]) => !STORAGE_PREFIXES.some((prefix) => key.startsWith(prefix))
  )
  bytes.u64(kept.length)
  for (const [key, value] of kept.sort(([a], [b]) => order(a, b))) {
    bytes.text(key)
    bytes.value(value)
  }
  bytes.u64(tensors.length)
  for (const { name, dims, type } of tensors) {
    bytes.text(name)
    bytes.u32(TENSOR_TYPES[type]!.id)
    bytes.u32(dims.length)
    for (const dim of dims) bytes.u64(dim)
  }
  return bytes.take()
}

async function headDigest(model: GgufModel, tensor: TensorInfo, signal?: AbortSignal): Promise<Uint8Array> {
  signal?.throwIfAborted()
  const source = model.sources[tensor.source]!
  const head = await source.read(tensor.offset, Math.min(HEAD_BYTES, tensor.byteLength), signal)
  return sha256(Uint8Array.from(head))
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
}

/** By code units: the same everywhere, unlike an order by locale. */
function order(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
