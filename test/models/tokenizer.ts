import type { Metadata } from '../../src/gguf/types.ts'

/** SentencePiece's kinds of tokens. */
const NORMAL = 1
const UNKNOWN = 2
const CONTROL = 3
const BYTE = 6

/** Enough for words to become more than one and less than all of their letters. */
const PIECES =
  '▁ e t a o i n s h r d l u ▁t he ▁a in re ▁s ▁w on ▁the er en ▁o at ▁b ▁c an nd ▁and ing or is es it ▁m ed ▁of ▁p . , ! ? ▁to ▁in ar ▁is ▁you le ▁f al ic'.split(
    ' '
  )

/** The last is there because llama.cpp looks for it in every model that has "phi3" in its name. */
const SPECIAL = ['<unk>', '<s>', '</s>', '<|endoftext|>']

/**
 * A tokenizer of 4 special tokens, the 256 bytes (so that any text can be written), and a few pieces.
 * Padded to `size` with pieces that no text has.
 */
export function tinyTokenizer(size = TOKENS): Metadata {
  const tokens = [...SPECIAL]
  const types = [UNKNOWN, CONTROL, CONTROL, CONTROL]
  for (let byte = 0; byte < 256; byte += 1) {
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
    types.push(BYTE)
  }
  tokens.push(...PIECES)
  while (tokens.length < size) tokens.push(`⟨${tokens.length}⟩`)
  while (types.length < tokens.length) types.push(NORMAL)
  // Later pieces are rarer; the merge with the highest score comes first.
  const scores = tokens.map((_, id) => (types[id] === NORMAL ? SPECIAL.length + 255 - id : 0))
  return new Map([
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', itemType: 'string', value: tokens }],
    ['tokenizer.ggml.scores', { type: 'array', itemType: 'f32', value: scores }],
    ['tokenizer.ggml.token_type', { type: 'array', itemType: 'i32', value: types }],
    ['tokenizer.ggml.unknown_token_id', { type: 'u32', value: 0 }],
    ['tokenizer.ggml.bos_token_id', { type: 'u32', value: 1 }],
    ['tokenizer.ggml.eos_token_id', { type: 'u32', value: 2 }],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: true }],
    ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: true }]
  ])
}

/** How many tokens it has unless more are asked for. */
export const TOKENS = SPECIAL.length + 256 + PIECES.length
