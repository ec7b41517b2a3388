/**
 * What we know about architectures: what llama.cpp v0.5.0 derives from the number of blocks, from a block's
 * index or from how its input came, and therefore gets wrong when it is given a range of blocks as a whole model.
 *
 * Two keys are for the engine:
 * - `shoal.input_tensor` is the graph's name of the tensor that enters a slice's first block, where that isn't what
 *   was put into the batch. The engine overwrites it with the hidden states.
 * - `shoal.embedding_scale` (f32) is what embeddings are multiplied by when the engine looks them up itself, where
 *   the graph does it for token ids only.
 *
 * What leaves block k is `l_out-<k>` in all of these architectures.
 */
import { UnsupportedModelError } from './errors.ts'
import type { Quirk, Scalar, SliceDraft } from './types.ts'

export { refusals } from './refusals.ts'

/** Slices of these were compared with the whole model; all others are refused. */
export const certifiedArchitectures: ReadonlySet<string> = new Set([
  'llama',
  'qwen2',
  'qwen3',
  'qwen3moe',
  'gemma2',
  'gemma3',
  'phi3',
  'gpt-oss'
])

/** Every n-th block of these attends to everything, the others to a window (`load_swa_pattern`'s second argument). */
const WINDOW_PERIODS: Readonly<Record<string, number>> = { gemma2: 2, gemma3: 6, 'gpt-oss': 2 }

/**
 * The number of blocks by which llama.cpp recognises the 27B model, whose attention is scaled by
 * 1/sqrt(width / heads) and not by 1/sqrt(head size).
 */
const BLOCKS_OF_27B: Readonly<Record<string, number>> = { gemma2: 46, gemma3: 62 }

/**
 * In positions: longer than any context, and times 256 sequences it still fits the 32 bits in which llama.cpp
 * sizes the cache of the windowed blocks.
 */
const ENDLESS_WINDOW = 1 << 22

/** Arrays whose length may be the number of blocks by chance, but whose items belong to no block. */
const NOT_PER_BLOCK: ReadonlySet<string> = new Set(['rope.dimension_sections', 'classifier.output_labels'])

export const QUIRKS: readonly Quirk[] = [
  {
    architectures: '*',
    reason:
      'Per-block arrays (head counts, feed-forward widths, ...) must be as long as block_count, else loading fails.',
    apply: sliceArrays
  },
  {
    architectures: '*',
    reason:
      'Blocks that predict further tokens are counted in block_count and follow the last block: a slice that ' +
      'has fewer of them than nextn_predict_layers says would lose ordinary blocks.',
    apply: (draft) => {
      if ((numberOf(draft, 'nextn_predict_layers') ?? 0) > 0) {
        refuse(draft, 'has extra blocks that predict further tokens')
      }
    }
  },
  {
    architectures: ['gemma2', 'gemma3', 'gpt-oss'],
    reason:
      'Which blocks attend to a window is counted from the first block of the file, so that a slice would begin ' +
      'the pattern anew. A bool array is read for every architecture and says it block by block.',
    apply: (draft) => {
      if (hasWindow(draft)) writePattern(draft, windowedBlocks(draft))
    }
  },
  {
    architectures: ['gemma3'],
    reason:
      'llama.cpp aborts when a model has a window but no block that uses it. Without the window it builds the ' +
      'same graph for blocks that attend to everything.',
    apply: (draft) => {
      if (hasWindow(draft) && !windowedBlocks(draft).includes(true)) {
        draft.metadata.delete(keyOf(draft, 'attention.sliding_window'))
        draft.metadata.delete(keyOf(draft, 'attention.sliding_window_pattern'))
      }
    }
  },
  {
    architectures: ['gemma2', 'gpt-oss'],
    reason:
      'The same abort, where the window cannot be left out: the blocks get a window that nothing outgrows, and ' +
      'lose what is special to windowed blocks.',
    apply: (draft) => {
      if (windowedBlocks(draft).includes(true)) return
      writePattern(draft, Array<boolean>(draft.span.end - draft.span.start).fill(true))
      draft.metadata.set(keyOf(draft, 'attention.sliding_window'), { type: 'u32', value: ENDLESS_WINDOW })
      for (const suffix of [
        'rope.freq_base_swa',
        'rope.dimension_count_swa',
        'attention.key_length_swa',
        'attention.value_length_swa'
      ]) {
        draft.metadata.delete(keyOf(draft, suffix))
      }
    }
  },
  {
    architectures: ['gemma2'],
    reason: 'The input is multiplied by sqrt(width), even if it is hidden states that a block has left.',
    apply: (draft) => {
      if (draft.span.start > 0) {
        draft.metadata.set('shoal.input_tensor', { type: 'string', value: 'inp_scaled' })
      }
    }
  },
  {
    architectures: ['gemma3'],
    reason:
      'The input is multiplied by sqrt(width) when it is token ids, but not when it is their embeddings.',
    apply: (draft) => {
      if (draft.span.start === 0) {
        const value = Math.fround(Math.sqrt(required(draft, 'embedding_length')))
        draft.metadata.set('shoal.embedding_scale', { type: 'f32', value })
      }
    }
  },
  {
    architectures: ['gemma2', 'gemma3'],
    reason:
      "27B's attention scale has no key and follows from the number of blocks. The rotary embedding's magnitude " +
      'multiplies queries and keys, thus scores by its square: equal but for rounding, not bit for bit.',
    apply: scaleAttention
  }
]

function keyOf(draft: SliceDraft, suffix: string): string {
  return `${draft.architecture}.${suffix}`
}

/** A number of the whole model's metadata. Of an array, what the first block has, as in llama.cpp. */
function numberOf(draft: SliceDraft, suffix: string): number | undefined {
  const entry = draft.model.metadata.get(keyOf(draft, suffix))
  if (entry === undefined) return undefined
  const value = entry.type === 'array' ? entry.value[0] : entry.value
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined
}

function refuse(draft: SliceDraft, why: string): never {
  throw new UnsupportedModelError(
    `This ${draft.architecture} model ${why}; it cannot be split into ranges of blocks.`
  )
}

function sliceArrays(draft: SliceDraft): void {
  const prefix = keyOf(draft, '')
  for (const [key, entry] of draft.model.metadata) {
    if (!key.startsWith(prefix) || NOT_PER_BLOCK.has(key.slice(prefix.length))) continue
    if (entry.type === 'array' && entry.value.length === draft.blockCount) {
      draft.metadata.set(key, { ...entry, value: sliceOf(draft, entry.value) })
    }
  }
}

function sliceOf(draft: SliceDraft, items: readonly Scalar[]): readonly Scalar[] {
  return items.slice(draft.span.start, draft.span.end)
}

function hasWindow(draft: SliceDraft): boolean {
  return draft.architecture !== 'gemma3' || (numberOf(draft, 'attention.sliding_window') ?? 0) > 0
}

/** For each block of the span, whether it attends to a window. */
function windowedBlocks(draft: SliceDraft): boolean[] {
  const pattern = draft.model.metadata.get(keyOf(draft, 'attention.sliding_window_pattern'))
  const period =
    numberOf(draft, 'attention.sliding_window_pattern') ?? WINDOW_PERIODS[draft.architecture] ?? 1
  const windowed: boolean[] = []
  for (let block = draft.span.start; block < draft.span.end; block += 1) {
    if (pattern?.type === 'array') windowed.push(Boolean(pattern.value[block]))
    else windowed.push(period === 0 || block % period < period - 1)
  }
  return windowed
}

function writePattern(draft: SliceDraft, windowed: readonly boolean[]): void {
  const key = keyOf(draft, 'attention.sliding_window_pattern')
  draft.metadata.set(key, { type: 'array', itemType: 'bool', value: windowed })
}

function scaleAttention(draft: SliceDraft): void {
  const wanted = scaledSize(draft, draft.blockCount)
  const given = scaledSize(draft, draft.span.end - draft.span.start)
  if (wanted === given) return
  if ((numberOf(draft, 'rope.dimension_count') ?? keyLength(draft)) !== keyLength(draft)) {
    refuse(draft, 'rotates only a part of each head, so that its attention scale cannot be corrected')
  }
  const magnitude = (numberOf(draft, 'rope.scaling.attn_factor') ?? 1) * (given / wanted) ** 0.25
  draft.metadata.set(keyOf(draft, 'rope.scaling.attn_factor'), { type: 'f32', value: magnitude })
}

/** The number by whose square root llama.cpp divides the scores of a model of so many blocks. */
function scaledSize(draft: SliceDraft, blocks: number): number {
  if (blocks !== BLOCKS_OF_27B[draft.architecture]) return keyLength(draft)
  return headSize(draft)
}

function keyLength(draft: SliceDraft): number {
  return numberOf(draft, 'attention.key_length') ?? headSize(draft)
}

function headSize(draft: SliceDraft): number {
  return Math.floor(required(draft, 'embedding_length') / required(draft, 'attention.head_count'))
}

function required(draft: SliceDraft, suffix: string): number {
  return numberOf(draft, suffix) ?? refuse(draft, `does not say its ${suffix}`)
}
