import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { planGguf, type TensorToWrite } from '../gguf/index.ts'
import { type CertifyCodecsOptions, type CodecsReport, certifyCodecs } from './certify-codecs.ts'
import { isCertified, PredictionCosts } from './certify-costs.ts'
import { openModel } from './model-file.ts'

const DEMO = 'models/demo.gguf'
const TEXT = 'docs/ARCHITECTURE.md'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-codecs-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

async function certified(path: string, options: Partial<CertifyCodecsOptions> = {}): Promise<CodecsReport> {
  const model = await openModel(path)
  try {
    return await certifyCodecs(model, { folder, text: TEXT, context: 128, chunks: 3, stages: 4, ...options })
  } finally {
    await model.close()
  }
}

describe('codecs of the demo model', () => {
  test('cost nothing where nothing is lost, and little elsewhere', async () => {
    const { codecs, cuts, scored, perplexity } = await certified(DEMO, { codecs: ['f32', 'f16', 'q8'] })
    expect([cuts, scored]).toEqual([[2, 4, 6], 3 * 63])
    expect(perplexity).toBeGreaterThan(10)
    const [f32, f16, q8] = codecs.map(({ costs }) => costs)
    expect(f32).toEqual({
      divergence: { value: 0, error: 0, p99: 0, max: 0 },
      sameTop: 1,
      perplexityRatio: 1
    })
    for (const costs of [f16, q8]) {
      expect(costs?.divergence.value).toBeGreaterThan(0)
      expect(costs?.divergence.value).toBeLessThan(0.001)
      expect(costs?.perplexityRatio).toBeCloseTo(1, 1)
    }
    expect(f16?.divergence.value).toBeLessThan(q8?.divergence.value ?? 0)
  })

  test('need a text', async () => {
    const text = join(folder, 'short.txt')
    await writeFile(text, 'A fish.')
    await expect(certified(DEMO, { text })).rejects.toThrow(/Use a longer text/)
    await expect(certified(DEMO, { text: join(folder, 'none.txt') })).rejects.toThrow(/no such file/)
  })
})

test('numbers beyond f16 rule it out, and nothing else', async () => {
  const { metadata, tensors } = tinyModel('llama-wide')
  const path = await writeModelFile(folder, 'large', planGguf({ metadata, tensors: tensors.map(enlarged) }))
  const { largest, codecs } = await certified(path)
  expect(largest).toBeGreaterThan(65_536)
  expect(codecs.map(({ codec, costs }) => [codec, costs !== undefined])).toEqual([
    ['f16', false],
    ['bf16', true],
    ['q8', true]
  ])
  expect(codecs[0]?.certified).toBe(false)
})

/** What the first block adds is large, as in Gemma. */
function enlarged(tensor: TensorToWrite): TensorToWrite {
  const { name, data } = tensor
  if (name !== 'blk.0.ffn_down.weight' || typeof data !== 'function') return tensor
  return {
    ...tensor,
    data: async function* () {
      for await (const bytes of data()) {
        yield new Uint8Array(
          new Float32Array(new Uint8Array(bytes).buffer).map((value) => 1e6 * value).buffer
        )
      }
    }
  }
}

describe('what predictions cost', () => {
  test('is as it is worked out by hand', () => {
    const costs = new PredictionCosts()
    const [p, q] = [0.8, 0.6]
    costs.add(Float32Array.of(Math.log(q), Math.log(1 - q)), Float32Array.of(Math.log(p), Math.log(1 - p)), 0)
    expect(costs.costs.divergence.value).toBeCloseTo(
      p * Math.log(p / q) + (1 - p) * Math.log((1 - p) / (1 - q)),
      6
    )
    expect(costs.costs.perplexityRatio).toBeCloseTo(p / q, 6)
    expect(costs.costs.sameTop).toBe(1)
    costs.add(Float32Array.of(0, 1), Float32Array.of(1, 0), 0)
    expect([costs.count, costs.costs.sameTop]).toEqual([2, 0.5])
  })

  test('does not depend on how large logits are', () => {
    const [near, far] = [new PredictionCosts(), new PredictionCosts()]
    near.add(Float32Array.of(1, 2, 4), Float32Array.of(1, 3, 4), 1)
    far.add(Float32Array.of(501, 502, 504), Float32Array.of(-399, -397, -396), 1)
    expect(far.costs.divergence.value).toBeCloseTo(near.costs.divergence.value, 6)
    expect(far.perplexity).toBeCloseTo(near.perplexity, 6)
  })

  const fine = {
    divergence: { value: 0.0009, error: 0, p99: 0.01, max: 1 },
    sameTop: 0.98,
    perplexityRatio: 1.001
  }
  test.each([
    ['as little as this', fine, true],
    ['too much on average', { ...fine, divergence: { ...fine.divergence, value: 0.0011 } }, false],
    ['too much now and then', { ...fine, divergence: { ...fine.divergence, p99: 0.03 } }, false],
    ['too many choices', { ...fine, sameTop: 0.96 }, false],
    ['perplexity', { ...fine, perplexityRatio: 1.006 }, false],
    ['what is no number', { ...fine, divergence: { ...fine.divergence, value: Number.NaN } }, false]
  ])('may be %s: %#', (_, costs, isGood) => {
    expect(isCertified(costs)).toBe(isGood)
  })
})
