/**
 * Tiny models with random weights, one for each thing that llama.cpp does differently: small enough to write and
 * run in a test, with windows, scales and shapes that show every mistake in cutting them.
 *
 *     const plan = tinyModel('gemma2')
 *     await writeGguf(sink, plan)
 */
import { type GgufPlan, planGguf, type TensorToWrite } from '../../src/gguf/plan.ts'
import type { Metadata, MetadataValue } from '../../src/gguf/types.ts'
import { type ArchitectureRow, TINY_MODELS, type TinyModelName } from './architectures.ts'
import { TOKENS, tinyTokenizer } from './tokenizer.ts'
import { tensorData } from './weights.ts'

export { TINY_MODELS, type TinyModelName } from './architectures.ts'

/** In positions; nothing in the weights knows about it. */
const CONTEXT = 2048

export interface TinyModelOptions {
  /**
   * What matrices are stored as; default F32. 'Q4_K_M' is what is sold under that name: Q4_K, and Q6_K for values,
   * down projections and the head. K-quants need `llama-wide`, all others rows of 32.
   */
  readonly type?: 'F32' | 'F16' | 'Q4_0' | 'Q8_0' | 'Q4_K_M'
  readonly blocks?: number
  /** Tokens in the vocabulary. */
  readonly vocabulary?: number
  readonly seed?: string
}

/** Each call with the same arguments plans the same bytes. */
export function tinyModel(name: TinyModelName, options: TinyModelOptions = {}): GgufPlan {
  const row: ArchitectureRow = TINY_MODELS[name]
  const { type = 'F32', blocks = row.shape.blocks, vocabulary = TOKENS, seed = name } = options
  const shape = { ...row.shape, blocks }
  const tensors: TensorToWrite[] = []
  const add = (tensor: string, dims: readonly number[]): void => {
    const stored = storedType(tensor, dims, type, row.expertType)
    tensors.push({ name: tensor, dims, type: stored, data: () => [tensorData(tensor, dims, stored, seed)] })
  }
  add('token_embd.weight', [shape.width, vocabulary])
  const patterns = row.tensors(shape)
  for (const [pattern, ...dims] of patterns) if (!pattern.includes('*')) add(pattern, dims)
  for (let block = 0; block < blocks; block += 1) {
    for (const [pattern, ...dims] of patterns) {
      if (pattern.includes('*')) add(pattern.replace('*', String(block)), dims)
    }
  }
  add('output_norm.weight', [shape.width])
  if (!row.tied) add('output.weight', [shape.width, vocabulary])
  return planGguf({ metadata: metadataOf(name, { ...row, shape }, vocabulary), tensors })
}

function metadataOf(
  name: string,
  { architecture, shape, keys = {} }: ArchitectureRow,
  vocabulary: number
): Metadata {
  const metadata: Metadata = new Map<string, MetadataValue>([
    ['general.architecture', { type: 'string', value: architecture }],
    ['general.name', { type: 'string', value: `tiny ${name}` }]
  ])
  const all = {
    vocab_size: vocabulary,
    context_length: CONTEXT,
    embedding_length: shape.width,
    block_count: shape.blocks,
    feed_forward_length: shape.feedForward,
    'attention.head_count': shape.heads,
    'attention.head_count_kv': shape.kvHeads,
    'attention.key_length': shape.headSize,
    'attention.value_length': shape.headSize,
    'attention.layer_norm_rms_epsilon': 1e-5,
    'rope.dimension_count': shape.headSize,
    'rope.freq_base': 10_000,
    ...keys
  }
  for (const [key, value] of Object.entries(all)) {
    metadata.set(`${architecture}.${key}`, { type: scalarType(key, value), value })
  }
  for (const [key, value] of tinyTokenizer(vocabulary)) metadata.set(key, value)
  return metadata
}

/** llama.cpp insists on the type of each key; which are fractions can't be seen from the value (8 or 8.0). */
function scalarType(key: string, value: number | string | boolean): 'string' | 'bool' | 'u32' | 'f32' {
  if (typeof value === 'string') return 'string'
  if (typeof value === 'boolean') return 'bool'
  return /epsilon|freq_base|factor|softcapping/.test(key) ? 'f32' : 'u32'
}

/** Only matrices are quantized; llama.cpp wants all else, biases and routers too, in full precision. */
function storedType(name: string, dims: readonly number[], type: string, expertType?: string): string {
  if (dims.length < 2 || name.endsWith('.bias') || name.includes('ffn_gate_inp')) return 'F32'
  if (expertType !== undefined && name.includes('_exps.')) return expertType
  if (type !== 'Q4_K_M') return type
  return /^output\.|attn_v\.|ffn_down\./.test(name) ? 'Q6_K' : 'Q4_K'
}
