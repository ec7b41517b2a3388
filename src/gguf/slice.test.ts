import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type GgufModel,
  memorySource,
  readGguf,
  type Span,
  sliceGguf,
  UnsupportedModelError
} from './index.ts'
import { bytesOf, type TinyModel, tinyModel } from './testing.ts'

async function load(file: Uint8Array): Promise<GgufModel> {
  return readGguf(memorySource(file))
}

async function tiny(init?: TinyModel): Promise<GgufModel> {
  return load(await bytesOf(tinyModel(init)))
}

/** The slice as a reader of its file sees it. */
async function sliced(model: GgufModel, span: Span, modelId?: string): Promise<GgufModel> {
  return load(await bytesOf(sliceGguf(model, span, { allowUncertified: true, ...(modelId && { modelId }) })))
}

async function tensorBytes(model: GgufModel, name: string): Promise<Buffer> {
  const { source, offset, byteLength } = model.tensors.get(name)!
  return Buffer.from(await model.sources[source]!.read(offset, byteLength))
}

async function expectSame(slice: GgufModel, name: string, model: GgufModel, original: string): Promise<void> {
  const { dims, type } = model.tensors.get(original)!
  expect(slice.tensors.get(name)).toMatchObject({ dims, type })
  expect((await tensorBytes(slice, name)).equals(await tensorBytes(model, original))).toBe(true)
}

const value = (model: GgufModel, key: string) => model.metadata.get(key)?.value

const MIDDLE: Span = { start: 1, end: 2, embedding: false, head: false }
const FIRST: Span = { start: 0, end: 1, embedding: true, head: false }
const LAST: Span = { start: 2, end: 3, embedding: false, head: true }
const WHOLE: Span = { start: 0, end: 3, embedding: true, head: true }

describe('blocks', () => {
  it('keep their bytes under new numbers, for any span', async () => {
    const model = await load(await readFile('models/demo.gguf'))
    const span = fc.record({
      start: fc.nat(7),
      length: fc.integer({ min: 1, max: 8 }),
      embedding: fc.boolean(),
      head: fc.boolean()
    })
    await fc.assert(
      fc.asyncProperty(span, async ({ start, length, embedding, head }) => {
        const end = Math.min(8, start + length)
        const slice = await sliced(model, { start, end, embedding, head })
        expect(value(slice, 'llama.block_count')).toBe(end - start)
        const blocks = [...slice.tensors.keys()].filter((name) => name.startsWith('blk.'))
        expect(blocks).toHaveLength((end - start) * 9)
        for (const name of blocks) {
          const original = name.replace(/^blk\.(\d+)/, (_, block) => `blk.${Number(block) + start}`)
          await expectSame(slice, name, model, original)
        }
      }),
      { seed: 1, numRuns: 20 }
    )
  })
})

describe('a slice with neither embedding nor head', () => {
  it('has a vocabulary of 32 that nobody needs', async () => {
    const slice = await sliced(await tiny(), MIDDLE)
    expect([...slice.tensors.keys()]).toEqual([
      'token_embd.weight',
      'blk.0.attn_norm.weight',
      'blk.0.attn_q.weight',
      'output_norm.weight'
    ])
    expect(slice.tensors.get('token_embd.weight')).toMatchObject({ type: 'F32', dims: [64, 32] })
    expect(slice.tensors.get('output_norm.weight')).toMatchObject({ type: 'F32', dims: [64] })
    const norm = await tensorBytes(slice, 'output_norm.weight')
    for (let offset = 0; offset < norm.length; offset += 4) expect(norm.readFloatLE(offset)).toBe(1)
    expect((await tensorBytes(slice, 'token_embd.weight')).every((byte) => byte === 0)).toBe(true)
    expect(value(slice, 'tokenizer.ggml.model')).toBe('no_vocab')
    expect(slice.metadata.has('tokenizer.ggml.tokens')).toBe(false)
    expect(slice.metadata.get('llama.vocab_size')).toEqual({ type: 'u32', value: 32 })
  })

  it('has a dummy output where llama.cpp requires one, but not for tied models', async () => {
    const untied = await sliced(await tiny({ architecture: 'gpt-oss' }), MIDDLE)
    expect(untied.tensors.get('output.weight')).toMatchObject({ type: 'F32', dims: [64, 32] })
    const tied = await sliced(await tiny({ architecture: 'gemma2', tied: true }), MIDDLE)
    expect(tied.tensors.has('output.weight')).toBe(false)
  })

  it('keeps what all blocks share, stands in for biases and leaves out scales', async () => {
    const extra = {
      'rope_freqs.weight': [8],
      'nobody_knows.weight': [3],
      'output_norm.bias': [64],
      'output.bias': [40],
      'output.scale': [1]
    }
    const model = await tiny({ extra })
    const slice = await sliced(model, MIDDLE)
    await expectSame(slice, 'rope_freqs.weight', model, 'rope_freqs.weight')
    await expectSame(slice, 'nobody_knows.weight', model, 'nobody_knows.weight')
    expect((await tensorBytes(slice, 'output_norm.bias')).every((byte) => byte === 0)).toBe(true)
    expect(slice.tensors.get('output.bias')?.dims).toEqual([32])
    expect(slice.tensors.has('output.scale')).toBe(false)
  })
})

describe('a slice with the embedding alone', () => {
  it('has it, without the tokens, without an output', async () => {
    const model = await tiny()
    const slice = await sliced(model, FIRST)
    await expectSame(slice, 'token_embd.weight', model, 'token_embd.weight')
    expect(slice.tensors.has('output.weight')).toBe(false)
    expect(value(slice, 'tokenizer.ggml.model')).toBe('no_vocab')
    expect(value(slice, 'llama.vocab_size')).toBe(40)
  })

  it('has a small dummy of as many rows where llama.cpp requires the output', async () => {
    for (const [width, type] of [
      [128, 'Q1_0'],
      [64, 'Q2_0'],
      [32, 'Q4_0']
    ] as const) {
      const slice = await sliced(await tiny({ architecture: 'gpt-oss', width }), FIRST)
      expect(slice.tensors.get('output.weight')).toMatchObject({ type, dims: [width, 40] })
    }
  })
})

describe('a slice with the head alone', () => {
  it('stores the output as the embedding, where llama.cpp falls back to it', async () => {
    const model = await tiny()
    const slice = await sliced(model, LAST)
    await expectSame(slice, 'token_embd.weight', model, 'output.weight')
    await expectSame(slice, 'output_norm.weight', model, 'output_norm.weight')
    expect(slice.tensors.has('output.weight')).toBe(false)
    expect(value(slice, 'tokenizer.ggml.tokens')).toHaveLength(40)
    expect(value(slice, 'shoal.embedding')).toBe(false)
  })

  it('has the embedding of a tied model', async () => {
    const model = await tiny({ tied: true })
    await expectSame(await sliced(model, LAST), 'token_embd.weight', model, 'token_embd.weight')
  })

  it('has both where llama.cpp requires the output', async () => {
    const model = await tiny({ architecture: 'gpt-oss' })
    const slice = await sliced(model, LAST)
    await expectSame(slice, 'output.weight', model, 'output.weight')
    expect(slice.tensors.get('token_embd.weight')).toMatchObject({ type: 'Q2_0', dims: [64, 40] })
  })
})

it('the whole span is the whole model', async () => {
  const model = await tiny()
  const slice = await sliced(model, WHOLE)
  expect([...slice.tensors.keys()]).toEqual([...model.tensors.keys()])
  for (const name of model.tensors.keys()) await expectSame(slice, name, model, name)
  for (const [key, entry] of model.metadata) expect(slice.metadata.get(key)).toEqual(entry)
})

it('a slice describes itself', async () => {
  const slice = await sliced(await tiny(), LAST, 'abc')
  const described = [...slice.metadata].filter(([key]) => key.startsWith('shoal.'))
  expect(Object.fromEntries(described)).toEqual({
    'shoal.span.start': { type: 'u32', value: 2 },
    'shoal.span.end': { type: 'u32', value: 3 },
    'shoal.model.block_count': { type: 'u32', value: 3 },
    'shoal.embedding': { type: 'bool', value: false },
    'shoal.head': { type: 'bool', value: true },
    'shoal.model.id': { type: 'string', value: 'abc' }
  })
})

it('quirks are applied', async () => {
  const model = await tiny()
  model.metadata.set('llama.feed_forward_length', { type: 'array', itemType: 'u32', value: [1, 2, 3] })
  const slice = await sliced(model, { start: 1, end: 3, embedding: false, head: true })
  expect(value(slice, 'llama.feed_forward_length')).toEqual([2, 3])
  expect(value(model, 'llama.feed_forward_length')).toEqual([1, 2, 3])
})

describe('refused', () => {
  it('spans that the model does not have', async () => {
    const model = await tiny()
    for (const [start, end] of [
      [0, 4],
      [-1, 1],
      [2, 2],
      [2, 1],
      [0.5, 1],
      [0, Number.NaN]
    ] as const) {
      expect(() => sliceGguf(model, { ...MIDDLE, start, end })).toThrow(
        expect.objectContaining({ code: 'SPAN' })
      )
    }
  })

  it('a slice of a slice', async () => {
    const slice = await sliced(await tiny(), WHOLE)
    expect(() => sliceGguf(slice, MIDDLE)).toThrow(/slice already/)
  })

  it('architectures that nobody has compared, unless allowed', async () => {
    const model = await tiny({ architecture: 'unheard-of' })
    expect(() => sliceGguf(model, MIDDLE)).toThrow(UnsupportedModelError)
    expect(() => sliceGguf(model, MIDDLE)).toThrow(/"unheard-of" .* shoal certify FILE/)
    expect(() => sliceGguf(model, MIDDLE, { allowUncertified: true })).not.toThrow()
  })

  it('files without a model', async () => {
    const model = await tiny()
    const without = (key: string) => ({
      ...model,
      metadata: new Map([...model.metadata].filter(([k]) => k !== key))
    })
    expect(() => sliceGguf(without('general.architecture'), MIDDLE)).toThrow(UnsupportedModelError)
    expect(() => sliceGguf(without('llama.block_count'), MIDDLE)).toThrow(UnsupportedModelError)
    expect(() => sliceGguf({ ...model, tensors: new Map() }, MIDDLE)).toThrow(UnsupportedModelError)
  })
})
