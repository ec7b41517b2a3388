/** What parts of a model take in memory: so that a node knows what it can host before it loads anything. */
import type { KvType } from '../engine/index.ts'
import type { Model } from './model-file.ts'

export interface ModelMemory {
  /** Weights of each block, in bytes. */
  readonly blockBytes: readonly number[]
  /** Of a span that starts at block 0; it is looked up in a file, not loaded: counted since its pages stay cached. */
  readonly embeddingBytes: number
  /** Of a span that ends with the last block. */
  readonly headBytes: number
  /** KV cache of one position in each block, in bytes. */
  readonly positionBytes: readonly number[]
}

/** Bits per number, block scales included. */
const KV_BITS: Readonly<Record<KvType, number>> = { f32: 32, f16: 16, bf16: 16, q8_0: 8.5, q4_0: 4.5 }
const BLOCK = /^blk\.(\d+)\./
const EMBEDDING = 'token_embd.weight'

/** From headers alone. */
export function memoryOf(model: Model, kvType: KvType): ModelMemory {
  const blockBytes = Array.from({ length: model.blockCount }, () => 0)
  let others = 0
  let embeddingBytes = 0
  for (const { name, byteLength } of model.gguf.tensors.values()) {
    const block = Number(BLOCK.exec(name)?.[1] ?? Number.NaN)
    if (blockBytes[block] !== undefined) blockBytes[block] += byteLength
    else if (name === EMBEDDING) embeddingBytes = byteLength
    else others += byteLength
  }
  // A tied head is the embedding once more.
  const headBytes = others + (model.gguf.tensors.has('output.weight') ? 0 : embeddingBytes)
  return { blockBytes, embeddingBytes, headBytes, positionBytes: positionBytesOf(model, kvType) }
}

function positionBytesOf(model: Model, kvType: KvType): number[] {
  const { blockCount, width } = model
  const heads = numbers(model, 'attention.head_count', blockCount)
  const kvHeads = numbers(model, 'attention.head_count_kv', blockCount)
  const keyLength = numbers(model, 'attention.key_length', blockCount)
  const valueLength = numbers(model, 'attention.value_length', blockCount)
  return Array.from({ length: blockCount }, (_, block) => {
    const headCount = heads?.[block] || 1
    const headWidth = width / headCount
    const perHead = (keyLength?.[block] ?? headWidth) + (valueLength?.[block] ?? headWidth)
    return ((kvHeads?.[block] ?? headCount) * perHead * KV_BITS[kvType]) / 8
  })
}

/** One number per block: the key has one for all of them, or an array. */
function numbers({ gguf, architecture }: Model, key: string, blockCount: number): number[] | undefined {
  const value = gguf.metadata.get(`${architecture}.${key}`)?.value
  if (typeof value === 'number') return Array.from({ length: blockCount }, () => value)
  if (!Array.isArray(value)) return undefined
  return value.map(Number)
}
