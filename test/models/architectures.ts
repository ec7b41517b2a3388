/** The tiny models: one row each, of what llama.cpp reads for that architecture. */

/** `width` is how long a row's hidden state is. All sizes are in weights. */
export interface Shape {
  readonly blocks: number
  /** No square of a power of two: where a scale by its root goes wrong, it must show. */
  readonly width: number
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly feedForward: number
}

export interface ArchitectureRow {
  readonly architecture: string
  readonly shape: Shape
  /** Keys without the architecture's prefix, beyond the common ones. */
  readonly keys?: Readonly<Record<string, number | string | boolean>>
  /** `*` in a name stands for each block's index. Dimensions are innermost first. */
  readonly tensors: (shape: Shape) => readonly (readonly [name: string, ...dims: number[]])[]
  /** Without `output.weight`, the embedding serves as the head. */
  readonly tied?: boolean
  /** What experts are stored as, where it isn't what the other matrices are. */
  readonly expertType?: string
}

type Tensors = ReturnType<ArchitectureRow['tensors']>

const SHAPE: Shape = { blocks: 6, width: 96, heads: 3, kvHeads: 1, headSize: 32, feedForward: 160 }
/** Whole superblocks of 256 for the K-quants in every row of every matrix. */
const WIDE: Shape = { blocks: 6, width: 512, heads: 8, kvHeads: 4, headSize: 64, feedForward: 512 }
/** Heads together wider than the hidden state, and enough blocks for both kinds of attention. */
const GEMMA: Shape = { blocks: 8, width: 96, heads: 4, kvHeads: 2, headSize: 32, feedForward: 160 }
const EXPERTS = 4

/** Shorter than the prompts of tests, so that windows matter and caches wrap. */
const WINDOW = 16
/** Contexts of 512 positions (a multiple of 256, as llama.cpp rounds) have the one kind of rope factors, longer the other. */
const ORIGINAL_CONTEXT = 512

const attention = ({ width, heads, kvHeads, headSize }: Shape): Tensors => [
  ['blk.*.attn_norm.weight', width],
  ['blk.*.attn_q.weight', width, heads * headSize],
  ['blk.*.attn_k.weight', width, kvHeads * headSize],
  ['blk.*.attn_v.weight', width, kvHeads * headSize],
  ['blk.*.attn_output.weight', heads * headSize, width]
]
const attentionBias = ({ heads, kvHeads, headSize }: Shape): Tensors => [
  ['blk.*.attn_q.bias', heads * headSize],
  ['blk.*.attn_k.bias', kvHeads * headSize],
  ['blk.*.attn_v.bias', kvHeads * headSize]
]
const headNorms = ({ headSize }: Shape): Tensors => [
  ['blk.*.attn_q_norm.weight', headSize],
  ['blk.*.attn_k_norm.weight', headSize]
]
const feedForward = ({ width, feedForward }: Shape): Tensors => [
  ['blk.*.ffn_norm.weight', width],
  ['blk.*.ffn_gate.weight', width, feedForward],
  ['blk.*.ffn_up.weight', width, feedForward],
  ['blk.*.ffn_down.weight', feedForward, width]
]
const experts = ({ width, feedForward }: Shape): Tensors => [
  ['blk.*.ffn_gate_inp.weight', width, EXPERTS],
  ['blk.*.ffn_gate_exps.weight', width, feedForward, EXPERTS],
  ['blk.*.ffn_up_exps.weight', width, feedForward, EXPERTS],
  ['blk.*.ffn_down_exps.weight', feedForward, width, EXPERTS]
]
const expertBias = ({ width, feedForward }: Shape): Tensors => [
  ['blk.*.ffn_gate_inp.bias', EXPERTS],
  ['blk.*.ffn_gate_exps.bias', feedForward, EXPERTS],
  ['blk.*.ffn_up_exps.bias', feedForward, EXPERTS],
  ['blk.*.ffn_down_exps.bias', width, EXPERTS]
]
const postNorms = ({ width }: Shape): Tensors => [
  ['blk.*.post_attention_norm.weight', width],
  ['blk.*.post_ffw_norm.weight', width]
]
const expertNorm = ({ width }: Shape): Tensors => [['blk.*.ffn_norm.weight', width]]
const llama = (shape: Shape): Tensors => [...attention(shape), ...feedForward(shape)]
const phi3 = ({ width, heads, kvHeads, headSize, feedForward }: Shape): Tensors => [
  ['blk.*.attn_norm.weight', width],
  ['blk.*.attn_qkv.weight', width, (heads + 2 * kvHeads) * headSize],
  ['blk.*.attn_output.weight', heads * headSize, width],
  ['blk.*.ffn_norm.weight', width],
  ['blk.*.ffn_up.weight', width, 2 * feedForward],
  ['blk.*.ffn_down.weight', feedForward, width]
]
const gemma2 = (shape: Shape): Tensors => [...llama(shape), ...postNorms(shape)]
const gemma3 = (shape: Shape): Tensors => [...gemma2(shape), ...headNorms(shape)]
const gptOss = (shape: Shape): Tensors => [
  ...attention(shape),
  ...attentionBias(shape),
  ['blk.*.attn_output.bias', shape.width],
  ['blk.*.attn_sinks.weight', shape.heads],
  ['blk.*.post_attention_norm.weight', shape.width],
  ...experts(shape),
  ...expertBias(shape)
]

const gemma2Keys = {
  'attention.sliding_window': WINDOW,
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30
}
// Blocks without a window have another base and another scale, as in 4B and larger.
const gemma3Keys = {
  'attention.sliding_window': WINDOW,
  'rope.freq_base': 1_000_000,
  'rope.scaling.type': 'linear',
  'rope.scaling.factor': 8
}
const mixtureKeys = { expert_count: EXPERTS, expert_used_count: 2 }
const gptOssKeys = {
  ...mixtureKeys,
  expert_feed_forward_length: 96,
  'attention.sliding_window': WINDOW,
  'rope.freq_base': 150_000,
  'rope.scaling.type': 'yarn',
  'rope.scaling.factor': 32,
  'rope.scaling.original_context_length': ORIGINAL_CONTEXT
}
const phi3Keys = {
  'rope.scaling.original_context_length': ORIGINAL_CONTEXT,
  'attention.sliding_window': WINDOW
}

const LLAMA_ROW = { architecture: 'llama', shape: SHAPE, tensors: llama } as const
const GPT_OSS_ROW = {
  architecture: 'gpt-oss',
  shape: { ...GEMMA, blocks: 6, feedForward: 96 },
  keys: gptOssKeys,
  tensors: gptOss
} as const

export const TINY_MODELS = {
  llama: LLAMA_ROW,
  'llama-rope-freqs': {
    ...LLAMA_ROW,
    tensors: (shape) => [...llama(shape), ['rope_freqs.weight', shape.headSize / 2]]
  },
  'llama-tied': { ...LLAMA_ROW, tied: true },
  'llama-experts': {
    ...LLAMA_ROW,
    keys: mixtureKeys,
    tensors: (shape) => [...attention(shape), ...expertNorm(shape), ...experts(shape)]
  },
  /** For quantized types; see `tinyModel`'s `type`. */
  'llama-wide': { ...LLAMA_ROW, shape: WIDE },
  qwen2: {
    architecture: 'qwen2',
    shape: SHAPE,
    keys: { 'rope.freq_base': 1_000_000 },
    tensors: (shape) => [...llama(shape), ...attentionBias(shape)]
  },
  qwen3: {
    architecture: 'qwen3',
    shape: { ...SHAPE, headSize: 48 },
    keys: { 'rope.freq_base': 1_000_000 },
    tensors: (shape) => [...llama(shape), ...headNorms(shape)]
  },
  qwen3moe: {
    architecture: 'qwen3moe',
    shape: { ...SHAPE, feedForward: 64 },
    keys: { ...mixtureKeys, expert_feed_forward_length: 64 },
    tensors: (shape) => [...attention(shape), ...headNorms(shape), ...expertNorm(shape), ...experts(shape)]
  },
  gemma2: { architecture: 'gemma2', shape: GEMMA, keys: gemma2Keys, tensors: gemma2, tied: true },
  /** As many blocks as llama.cpp takes for the 27B model, whose attention has another scale. */
  'gemma2-27b': {
    architecture: 'gemma2',
    shape: { ...GEMMA, blocks: 46 },
    keys: gemma2Keys,
    tensors: gemma2,
    tied: true
  },
  gemma3: { architecture: 'gemma3', shape: GEMMA, keys: gemma3Keys, tensors: gemma3, tied: true },
  'gemma3-27b': {
    architecture: 'gemma3',
    shape: { ...GEMMA, blocks: 62 },
    keys: gemma3Keys,
    tensors: gemma3,
    tied: true
  },
  phi3: { architecture: 'phi3', shape: SHAPE, keys: phi3Keys, tensors: phi3 },
  'phi3-long': {
    architecture: 'phi3',
    shape: SHAPE,
    keys: { ...phi3Keys, 'rope.scaling.attn_factor': 1.19 },
    tensors: (shape) => [
      ...phi3(shape),
      ['rope_factors_long.weight', shape.headSize / 2],
      ['rope_factors_short.weight', shape.headSize / 2]
    ]
  },
  'gpt-oss': GPT_OSS_ROW,
  'gpt-oss-mxfp4': { ...GPT_OSS_ROW, expertType: 'MXFP4' }
} as const satisfies Record<string, ArchitectureRow>

export type TinyModelName = keyof typeof TINY_MODELS
