/** Models of real shapes with random weights: what a token costs does not depend on what the weights are. */
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type GgufPlan,
  type Metadata,
  type MetadataValue,
  planGguf,
  TENSOR_TYPES,
  type TensorToWrite,
  tensorByteLength,
  writeGguf
} from '../src/gguf/index.ts'
import { randomOf, randomTensor } from '../test/models/random.ts'
import { tinyTokenizer } from '../test/models/tokenizer.ts'
import { deviationOf, tensorData } from '../test/models/weights.ts'

interface Shape {
  readonly label: string
  readonly blocks: number
  readonly width: number
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly feedForward: number
  /** As large as the real one: the head is a good part of a small model's work. */
  readonly vocabulary: number
  readonly tied: boolean
  readonly ropeBase: number
  readonly ropeFactors: boolean
}

const REAL = {
  /** TinyLlama 1.1B */
  '1b': {
    label: '1.1B',
    blocks: 22,
    width: 2048,
    heads: 32,
    kvHeads: 4,
    headSize: 64,
    feedForward: 5632,
    vocabulary: 32_000,
    tied: false,
    ropeBase: 10_000,
    ropeFactors: false
  },
  /** Llama 3.2 3B */
  '3b': {
    label: '3B',
    blocks: 28,
    width: 3072,
    heads: 24,
    kvHeads: 8,
    headSize: 128,
    feedForward: 8192,
    vocabulary: 128_256,
    tied: true,
    ropeBase: 500_000,
    ropeFactors: true
  }
} as const satisfies Record<string, Shape>

/** Few blocks and a small head: every split of them can be tried. */
const short = (shape: Shape): Shape => ({
  ...{ ...shape, blocks: 12, vocabulary: 4_096 },
  label: `${shape.label}, twelve blocks`
})

const SHAPES = { ...REAL, '1b-12': short(REAL['1b']), '3b-12': short(REAL['3b']) }

export type ShapeName = keyof typeof SHAPES
export type ShapeType = 'Q4_0' | 'Q8_0' | 'F16'

/** Of llama-quantize's files, the head, and with it a tied embedding, is stored finer than the rest. */
const HEAD_TYPES: Readonly<Record<ShapeType, string>> = { Q4_0: 'Q6_K', Q8_0: 'Q8_0', F16: 'F16' }

/** Enough that equal blocks are far apart, little enough to be made in a moment. */
const PATTERN_BYTES = 1024 * 1024

export interface WriteShapeOptions {
  readonly signal?: AbortSignal
  /** Both in bytes. */
  readonly onProgress?: (progress: { readonly bytes: number; readonly total: number }) => void
}

/**
 * Writes the model into `folder` (1.9 GB for '3b' in Q4_0, 0.6 GB for '1b') and resolves to the file's path.
 * A complete file is left as it is; an interrupted one never has the final name.
 */
export async function writeShape(
  name: ShapeName,
  type: ShapeType,
  folder: string,
  options: WriteShapeOptions = {}
): Promise<string> {
  const plan = planShape(SHAPES[name], type)
  const path = join(folder, `shape-${name}-${type.toLowerCase()}.gguf`)
  const existing = await stat(path).catch(() => undefined)
  if (existing?.size === plan.byteLength) return path
  await mkdir(folder, { recursive: true })
  const partial = `${path}.${process.pid}.partial`
  try {
    await using file = await open(partial, 'w')
    await writeGguf({ write: (bytes) => file.writeFile(bytes) }, plan, options)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
  await rename(partial, path)
  return path
}

function planShape(shape: Shape, type: ShapeType): GgufPlan {
  const { blocks, width, headSize, feedForward, vocabulary, tied } = shape
  const queries = shape.heads * headSize
  const values = shape.kvHeads * headSize
  const pattern = patterns()
  const matrix = (tensor: string, stored: string, ...dims: [number, number]): TensorToWrite => ({
    name: tensor,
    dims,
    type: stored,
    data: () => pattern(tensor, dims, stored)
  })
  const vector = (tensor: string, length: number): TensorToWrite => ({
    name: tensor,
    dims: [length],
    type: 'F32',
    data: tensorData(tensor, [length], 'F32', shape.label)
  })
  const tensors = [matrix('token_embd.weight', tied ? HEAD_TYPES[type] : type, width, vocabulary)]
  if (shape.ropeFactors) tensors.push(vector('rope_freqs.weight', headSize / 2))
  for (let block = 0; block < blocks; block += 1) {
    const part = (suffix: string): string => `blk.${block}.${suffix}.weight`
    tensors.push(
      vector(part('attn_norm'), width),
      matrix(part('attn_q'), type, width, queries),
      matrix(part('attn_k'), type, width, values),
      matrix(part('attn_v'), type, width, values),
      matrix(part('attn_output'), type, queries, width),
      vector(part('ffn_norm'), width),
      matrix(part('ffn_gate'), type, width, feedForward),
      matrix(part('ffn_up'), type, width, feedForward),
      matrix(part('ffn_down'), type, feedForward, width)
    )
  }
  tensors.push(vector('output_norm.weight', width))
  if (!tied) tensors.push(matrix('output.weight', HEAD_TYPES[type], width, vocabulary))
  return planGguf({ metadata: metadataOf(shape), tensors })
}

function metadataOf(shape: Shape): Metadata {
  const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
  return new Map<string, MetadataValue>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['general.name', { type: 'string', value: `${shape.label} shape with random weights` }],
    ['llama.vocab_size', u32(shape.vocabulary)],
    ['llama.context_length', u32(8192)],
    ['llama.embedding_length', u32(shape.width)],
    ['llama.block_count', u32(shape.blocks)],
    ['llama.feed_forward_length', u32(shape.feedForward)],
    ['llama.attention.head_count', u32(shape.heads)],
    ['llama.attention.head_count_kv', u32(shape.kvHeads)],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'f32', value: 1e-5 }],
    ['llama.rope.dimension_count', u32(shape.headSize)],
    ['llama.rope.freq_base', { type: 'f32', value: shape.ropeBase }],
    ...tinyTokenizer(shape.vocabulary)
  ])
}

/** Makes matrices by repeating one pattern per type and scale, from another block on for each tensor. */
function patterns(): (name: string, dims: readonly number[], type: string) => Iterable<Uint8Array> {
  const made = new Map<string, Uint8Array>()
  return function* repeat(name, dims, type) {
    const deviation = deviationOf(name, dims)
    const { blockSize, typeSize } = TENSOR_TYPES[type]!
    const key = `${type} ${deviation}`
    let pattern = made.get(key)
    if (pattern === undefined) {
      const count = Math.floor(PATTERN_BYTES / typeSize)
      pattern = randomTensor(type, [count * blockSize], deviation, randomOf(key))
      made.set(key, pattern)
    }
    let start = Math.floor((randomOf(name)() * pattern.byteLength) / typeSize) * typeSize
    for (let left = tensorByteLength(type, dims); left > 0; ) {
      const chunk = pattern.subarray(start, start + left)
      yield chunk
      left -= chunk.byteLength
      start = 0
    }
  }
}
