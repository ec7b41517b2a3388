import { describe, expect, it } from 'vitest'
import { QUIRKS } from './architectures.ts'
import { UnsupportedModelError } from './errors.ts'
import { memorySource } from './memory.ts'
import type { Metadata, MetadataValue, Scalar } from './types.ts'

const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
const array = (itemType: 'u32' | 'bool', value: readonly Scalar[]): MetadataValue => ({
  type: 'array',
  itemType,
  value
})

/** The metadata of a slice, after all quirks of its architecture. Keys are given and asked for without the prefix. */
function quirked(
  architecture: string,
  blockCount: number,
  span: readonly [start: number, end: number],
  keys: Readonly<Record<string, MetadataValue>>
): (key: string) => Scalar | readonly Scalar[] | undefined {
  const prefix = (key: string) => (key.startsWith('shoal.') ? key : `${architecture}.${key}`)
  const original: Metadata = new Map(Object.entries(keys).map(([key, value]) => [prefix(key), value]))
  const metadata: Metadata = new Map(original)
  const [start, end] = span
  for (const quirk of QUIRKS) {
    if (quirk.architectures !== '*' && !quirk.architectures.includes(architecture)) continue
    quirk.apply({
      architecture,
      blockCount,
      span: { start, end, embedding: start === 0, head: end === blockCount },
      model: {
        version: 3,
        alignment: 32,
        metadata: original,
        tensors: new Map(),
        sources: [memorySource(new Uint8Array(0))]
      },
      metadata
    })
  }
  return (key) => metadata.get(prefix(key))?.value
}

const PATTERN = 'attention.sliding_window_pattern'
const WINDOW = 'attention.sliding_window'
const GEMMA = { embedding_length: u32(96), 'attention.head_count': u32(4), 'attention.key_length': u32(32) }

describe('per-block arrays', () => {
  it('are cut to the span', () => {
    const keys = { feed_forward_length: array('u32', [10, 20, 30, 40]), 'attention.head_count': u32(4) }
    const slice = quirked('llama', 4, [1, 3], keys)
    expect(slice('feed_forward_length')).toEqual([20, 30])
    expect(slice('attention.head_count')).toBe(4)
  })

  it('are not confused with other arrays of that length', () => {
    const slice = quirked('llama', 4, [1, 3], { 'rope.dimension_sections': array('u32', [1, 2, 3, 4]) })
    expect(slice('rope.dimension_sections')).toEqual([1, 2, 3, 4])
  })
})

describe('sliding windows', () => {
  it('keep their phase, whatever the block that a slice begins with', () => {
    const window = { ...GEMMA, [WINDOW]: u32(16) }
    expect(quirked('gemma2', 8, [1, 4], window)(PATTERN)).toEqual([false, true, false])
    expect(quirked('gpt-oss', 8, [2, 5], window)(PATTERN)).toEqual([true, false, true])
    expect(quirked('gemma3', 8, [4, 7], window)(PATTERN)).toEqual([true, false, true])
  })

  it('are read from the model where it says them, as a period or block by block', () => {
    const window = { ...GEMMA, [WINDOW]: u32(16) }
    const period = { ...window, [PATTERN]: u32(3) }
    expect(quirked('gemma3', 8, [1, 5], period)(PATTERN)).toEqual([true, false, true, true])
    const each = { ...window, [PATTERN]: array('bool', [true, false, false, true]) }
    expect(quirked('gemma2', 4, [2, 4], each)(PATTERN)).toEqual([false, true])
  })

  it('are left out of a gemma3 slice that has no windowed block', () => {
    const slice = quirked('gemma3', 8, [5, 6], { ...GEMMA, [WINDOW]: u32(16) })
    expect(slice(WINDOW)).toBeUndefined()
    expect(slice(PATTERN)).toBeUndefined()
  })

  it('are endless where llama.cpp insists on them and no block has one', () => {
    const keys = { ...GEMMA, [WINDOW]: u32(16), 'rope.freq_base_swa': u32(1) }
    for (const architecture of ['gemma2', 'gpt-oss']) {
      const slice = quirked(architecture, 8, [3, 4], keys)
      expect(slice(PATTERN)).toEqual([true])
      expect(slice(WINDOW)).toBeGreaterThan(1_000_000)
      expect(slice('rope.freq_base_swa')).toBeUndefined()
    }
  })

  it('are no matter of a gemma3 model without them', () => {
    expect(quirked('gemma3', 8, [1, 4], GEMMA)(PATTERN)).toBeUndefined()
  })
})

it('a scaled input is overwritten in gemma2, from the second slice on', () => {
  expect(quirked('gemma2', 8, [0, 4], GEMMA)('shoal.input_tensor')).toBeUndefined()
  expect(quirked('gemma2', 8, [4, 8], GEMMA)('shoal.input_tensor')).toBe('inp_scaled')
  expect(quirked('gemma3', 8, [4, 8], GEMMA)('shoal.input_tensor')).toBeUndefined()
})

it('embeddings that the graph does not scale are scaled before, in the first slice of gemma3', () => {
  expect(quirked('gemma3', 8, [0, 4], GEMMA)('shoal.embedding_scale')).toBe(Math.fround(Math.sqrt(96)))
  expect(quirked('gemma3', 8, [4, 8], GEMMA)('shoal.embedding_scale')).toBeUndefined()
  expect(quirked('gemma2', 8, [0, 4], GEMMA)('shoal.embedding_scale')).toBeUndefined()
})

describe('the attention scale of 27B', () => {
  const MAGNITUDE = 'rope.scaling.attn_factor'

  it('is corrected where the number of blocks hides it or pretends it', () => {
    const hidden = quirked('gemma2', 46, [0, 20], GEMMA)(MAGNITUDE) as number
    // Scores are multiplied by the square: 1/sqrt(32) times that is 1/sqrt(96/4).
    expect(hidden ** 2 / Math.sqrt(32)).toBeCloseTo(1 / Math.sqrt(24), 6)
    const pretended = quirked('gemma3', 70, [0, 62], GEMMA)(MAGNITUDE) as number
    expect(pretended ** 2 / Math.sqrt(24)).toBeCloseTo(1 / Math.sqrt(32), 6)
  })

  it('is right in all other slices', () => {
    expect(quirked('gemma2', 46, [0, 46], GEMMA)(MAGNITUDE)).toBeUndefined()
    expect(quirked('gemma2', 42, [0, 20], GEMMA)(MAGNITUDE)).toBeUndefined()
  })

  it('is refused where it cannot be corrected', () => {
    const keys = { ...GEMMA, 'rope.dimension_count': u32(16) }
    expect(() => quirked('gemma2', 46, [0, 20], keys)).toThrow(UnsupportedModelError)
  })
})

it('models with blocks that predict further tokens are refused', () => {
  expect(() => quirked('llama', 4, [0, 2], { nextn_predict_layers: u32(1) })).toThrow(UnsupportedModelError)
})
