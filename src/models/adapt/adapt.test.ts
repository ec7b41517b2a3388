// Quantizing, calibrating and evaluating, with the real llama.cpp on small models.
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { writeModelFile } from '../../../test/models/file.ts'
import { tinyModel } from '../../../test/models/index.ts'
import { LlamaEngine } from '../../engine/index.ts'
import { type GgufPlan, splitGguf, splitHeaderBytes, type TensorToWrite } from '../../gguf/index.ts'
import { calibrate, evaluate, quantize } from './index.ts'

const CONTEXT = 64
const RUN = { context: CONTEXT, threads: 1, gpuLayers: 0 }
const PLAIN = { type: 'Q4_0', threads: 1 }

let folder: string
/** Where a test writes to; empty before each. */
let outputs: string
let plan: GgufPlan
let model: string
/** Of width 512, which K-quants and their kin fit. */
let wide: string
let text: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-adapt-'))
  outputs = join(folder, 'outputs')
  text = join(folder, 'text.txt')
  const words = Array.from(
    { length: 400 },
    (_, index) => 'the one and of in to he is'.split(' ')[(index * index) % 8]
  )
  await writeFile(text, `${words.join(' ')}\n`)
  plan = tinyModel('llama', { type: 'F32' })
  model = await writeModelFile(folder, 'tiny', plan)
  wide = await writeModelFile(folder, 'wide', tinyModel('llama-wide', { type: 'F16', blocks: 2 }))
})

beforeEach(async () => {
  await rm(outputs, { recursive: true, force: true })
  await mkdir(outputs)
})

afterAll(() => rm(folder, { recursive: true }))

function output(name = 'result.gguf'): string {
  return join(outputs, name)
}

describe('quantizing', () => {
  test('writes a smaller model that runs, and says what became of its tensors', async () => {
    const fractions: number[] = []
    const result = await quantize(wide, output(), {
      ...{ type: 'Q4_K_M', threads: 2 },
      onProgress: (fraction) => fractions.push(fraction)
    })
    expect(result.files).toEqual([output()])
    expect(result.bytes).toBe((await stat(output())).size)
    expect(result.bitsPerWeight).toBeGreaterThan(4.5)
    expect(result.bitsPerWeight).toBeLessThan(6)
    expect(result.types).toMatchObject({ F32: 5, Q4_K: expect.any(Number), Q6_K: expect.any(Number) })
    expect(result.fallbacks).toEqual([])
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b))
    expect(fractions.length).toBeGreaterThan(10)
    const report = await evaluate(output(), text, { ...RUN, chunks: 2, reference: wide })
    expect(report.reference?.divergence.value).toBeGreaterThan(0)
    expect(report.reference?.sameTop.value).toBeGreaterThan(0.5)
  })

  test('tells which tensors could not have the type', async () => {
    const { fallbacks } = await quantize(model, output(), { type: 'Q4_K_S', threads: 1 })
    expect(fallbacks).toContainEqual({ tensor: 'blk.0.ffn_up.weight', wanted: 'Q4_K', got: 'Q5_0' })
  })

  test('takes types for head and embedding, and refuses what has no whole blocks', async () => {
    const overrides = { outputTensorType: 'F16', embeddingType: 'Q8_0' }
    const { types } = await quantize(model, output(), { ...PLAIN, ...overrides })
    expect(types).toMatchObject({ F16: 1, Q8_0: 1 })
    const wrong = quantize(model, output(), { ...PLAIN, embeddingType: 'Q6_K', force: true })
    await expect(wrong).rejects.toThrow('no whole blocks of 256')
  })

  test('pure gives all matrices one type', async () => {
    const { types } = await quantize(wide, output(), { type: 'Q4_K_M', threads: 1, pure: true })
    expect(Object.keys(types).sort()).toEqual(['F32', 'Q4_K'])
  })

  test('replaces nothing unless told to, and never the model itself', async () => {
    await writeFile(output(), 'precious')
    await expect(quantize(model, output(), PLAIN)).rejects.toThrow('--force')
    expect(await readFile(output(), 'utf8')).toBe('precious')
    await quantize(model, output(), { ...PLAIN, force: true })
    expect((await stat(output())).size).toBeGreaterThan(1000)
    await expect(quantize(model, model, { ...PLAIN, force: true })).rejects.toThrow('another name')
  })

  test('leaves nothing when it is given up', async () => {
    const controller = new AbortController()
    const onProgress = (): void => controller.abort()
    const given = quantize(wide, output(), { ...PLAIN, signal: controller.signal, onProgress })
    await expect(given).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await readdir(outputs)).toEqual([])
  })

  test('leaves nothing when it fails', async () => {
    const damaged = join(folder, 'damaged.gguf')
    const bytes = await readFile(model)
    bytes.write('llamb', bytes.indexOf('llama', bytes.indexOf('general.architecture')))
    await writeFile(damaged, bytes)
    await expect(quantize(damaged, output(), PLAIN)).rejects.toThrow('unknown model architecture')
    await expect(quantize(model, join(folder, 'no', 'folder.gguf'), PLAIN)).rejects.toThrow('written')
    expect(await readdir(outputs)).toEqual([])
  })

  test('asks for what a type needs: an importance matrix, or a model that is not quantized', async () => {
    const low = { type: 'IQ2_XXS', threads: 1 }
    await expect(quantize(wide, output(), low)).rejects.toThrow('--calibrate')
    const importance = () => calibrate(wide, text, { ...RUN, chunks: 2 })
    const { unweighted } = await quantize(wide, output(), { ...low, importance })
    expect(unweighted.toSorted()).toEqual(['output.weight', 'token_embd.weight'])
    await expect(quantize(output(), output('twice.gguf'), PLAIN)).rejects.toThrow('--requantize')
    await quantize(output(), output('twice.gguf'), { ...PLAIN, requantize: true })
    await expect(quantize(model, output('other.gguf'), { ...PLAIN, importance })).rejects.toThrow(
      'another model'
    )
  })

  test('reads and keeps a model of several parts', async () => {
    const blocks = [0, 1].map((half) => plan.tensors.filter(({ name }) => name.startsWith(`blk.${half}.`)))
    const parts = blocks.map((tensors) => ({
      tensors,
      headerBytes: splitHeaderBytes(plan.metadata, tensors) + 256
    }))
    const files: string[] = []
    for (const [index, part] of splitGguf(plan, parts).entries()) {
      files.push(await writeModelFile(folder, `parts-0000${index + 1}-of-00003`, part))
    }
    const [first] = files as [string]
    const one = await quantize(first, output('one.gguf'), PLAIN)
    await quantize(model, output('whole.gguf'), PLAIN)
    const sameTypes = await quantize(first, output('kept.gguf'), { ...PLAIN, keepSplit: true })
    expect(sameTypes.types).toEqual(one.types)
    expect(sameTypes.files).toEqual([1, 2, 3].map((part) => output(`kept-0000${part}-of-00003.gguf`)))
    expect((await readdir(outputs)).sort()).toEqual([
      ...[1, 2, 3].map((part) => `kept-0000${part}-of-00003.gguf`),
      'one.gguf',
      'whole.gguf'
    ])
    const [fromParts, fromWhole, kept] = await Promise.all(
      [output('one.gguf'), output('whole.gguf'), sameTypes.files[0] as string].map((path) =>
        evaluate(path, text, { ...RUN, chunks: 2 })
      )
    )
    expect(fromParts).toEqual(fromWhole)
    expect(kept).toEqual(fromWhole)
  })
})

/** What the whole model says about each token after the first, all chunks, in double precision. */
async function losses(path: string): Promise<number[]> {
  const engine = new LlamaEngine({
    ...{ files: [path], context: CONTEXT, sequences: 1, threads: 1, gpuLayers: 0, maxOutputs: CONTEXT }
  })
  await engine.start()
  try {
    const tokens = await engine.tokenize((await readFile(text, 'utf8')).trimEnd())
    const { vocabulary, beginToken } = engine.description
    const all: number[] = []
    for (let start = 0; start + CONTEXT <= tokens.length; start += CONTEXT) {
      const chunk = tokens.slice(start, start + CONTEXT)
      const rows = Int32Array.from(chunk)
      rows[0] = beginToken
      await engine.drop(0)
      const { groups } = await engine.run([{ sequence: 0, position: 0, tokens: rows, output: 'logits-all' }])
      for (let row = CONTEXT / 2; row < CONTEXT - 1; row++) {
        const logits = groups[0]?.logits?.subarray(row * vocabulary, (row + 1) * vocabulary) as Float32Array
        const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0)
        all.push(Math.log(sum) - (logits[chunk[row + 1] as number] as number))
      }
    }
    return all
  } finally {
    await engine.stop()
  }
}

describe('evaluating', () => {
  test('foretells the second half of each chunk, which begins with a begin token', async () => {
    const expected = await losses(model)
    const mean = expected.reduce((sum, loss) => sum + loss, 0) / expected.length
    const report = await evaluate(model, text, RUN)
    expect(report.scored).toBe(expected.length)
    expect(report.chunks).toBe(expected.length / (CONTEXT / 2 - 1))
    // Other batches give other roundings.
    expect(Math.log(report.perplexity.value)).toBeCloseTo(mean, 2)
  })

  test('finds no distance from the model itself, and some from another', async () => {
    const { reference } = await evaluate(model, text, { ...RUN, chunks: 3, reference: model })
    expect(reference?.divergence.max).toBeLessThan(1e-3)
    expect(reference?.sameTop).toEqual({ value: 1, error: 0 })
    const other = await writeModelFile(folder, 'other', tinyModel('llama', { type: 'F32', seed: 'other' }))
    const compared = await evaluate(model, text, { ...RUN, chunks: 3, reference: other })
    expect(compared.reference?.divergence.value).toBeGreaterThan(0.1)
    expect(compared.perplexity).not.toEqual(compared.reference?.perplexity)
  })

  test('says what is wrong with text and models', async () => {
    const short = join(folder, 'short.txt')
    await writeFile(short, 'the one')
    await expect(evaluate(model, short, RUN)).rejects.toThrow('two chunks of 64 have 128')
    await expect(evaluate(model, join(folder, 'none.txt'), RUN)).rejects.toThrow('no such file')
    await expect(evaluate(join(folder, 'none.gguf'), text, RUN)).rejects.toThrow('no such file')
    await expect(evaluate(text, text, RUN)).rejects.toThrow('no GGUF')
    const large = await writeModelFile(folder, 'large', tinyModel('llama', { vocabulary: 500 }))
    await expect(evaluate(model, text, { ...RUN, reference: large })).rejects.toThrow(
      'different vocabularies'
    )
  })

  test('can be given up', async () => {
    const controller = new AbortController()
    const onProgress = (): void => controller.abort()
    const given = evaluate(model, text, { ...RUN, signal: controller.signal, onProgress })
    await expect(given).rejects.toMatchObject({ code: 'ABORTED' })
  })
})

/** A planned F32 tensor's values. */
function valuesOf(name: string): Float32Array {
  const tensor = plan.tensors.find((candidate) => candidate.name === name) as TensorToWrite
  const [bytes] = (tensor.data as () => Iterable<Uint8Array>)() as unknown as [Uint8Array]
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}

describe('calibrating', () => {
  test('sums the squares of what the first block’s queries are computed from', async () => {
    const { entries, chunks, datasets } = await calibrate(model, text, { ...RUN, chunks: 3 })
    expect({ chunks, datasets }).toEqual({ chunks: 3, datasets: ['text.txt'] })
    const embedding = valuesOf('token_embd.weight')
    const norm = valuesOf('blk.0.attn_norm.weight')
    const engine = new LlamaEngine({
      ...{ files: [model], context: CONTEXT, sequences: 1, threads: 1, gpuLayers: 0, vocabularyOnly: true }
    })
    await engine.start()
    const tokens = (await engine.tokenize((await readFile(text, 'utf8')).trimEnd())).slice(0, 3 * CONTEXT)
    for (let start = 0; start < tokens.length; start += CONTEXT) tokens[start] = engine.description.beginToken
    await engine.stop()
    const expected = new Float64Array(norm.length)
    for (const token of tokens) {
      const row = embedding.subarray(token * norm.length, (token + 1) * norm.length)
      const mean = row.reduce((sum, value) => sum + value * value, 0) / row.length
      for (const [column, value] of row.entries()) {
        const input = (value / Math.sqrt(mean + 1e-5)) * (norm[column] as number)
        expected[column] = (expected[column] as number) + input * input
      }
    }
    const queries = entries.find(({ name }) => name === 'blk.0.attn_q.weight')
    expect(queries?.counts).toEqual(Float32Array.of(3 * CONTEXT))
    for (const [column, sum] of queries?.sums.entries() ?? []) {
      expect(sum / (expected[column] as number)).toBeCloseTo(1, 4)
    }
    expect(entries.map(({ name }) => name)).toEqual(entries.map(({ name }) => name).toSorted())
    expect(entries.every(({ name }) => /^blk\.\d+\.(attn|ffn)_\w+\.weight$/.test(name))).toBe(true)
  })

  test('counts the rows of each expert', async () => {
    const experts = await writeModelFile(folder, 'experts', tinyModel('qwen3moe'))
    const { entries } = await calibrate(experts, text, { ...RUN, chunks: 2 })
    const up = entries.find(({ name }) => name === 'blk.0.ffn_up_exps.weight')
    // Two of four experts for each row.
    expect(up?.counts.reduce((sum, count) => sum + count, 0)).toBe(2 * 2 * CONTEXT)
    expect(up?.counts.length).toBe(4)
  })
})
