// Every architecture's spans compute what the whole model does, every logit compared. A new one is a row of
// TINY_MODELS.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type GgufPlan, planGguf } from '../src/gguf/index.ts'
import {
  type CertifyOptions,
  type CertifyReport,
  certify,
  openModel,
  writeSpan
} from '../src/models/index.ts'
import type { ArchitectureRow } from './models/architectures.ts'
import { writeModelFile } from './models/file.ts'
import { TINY_MODELS, type TinyModelName, type TinyModelOptions, tinyModel } from './models/index.ts'

const NAMES = Object.keys(TINY_MODELS) as TinyModelName[]
const DEMO = 'models/demo.gguf'
/** Beside the default cuts, which every architecture gets, one that has a first, a middle and a last span. */
const MIDDLE = [[2, 4]]
/**
 * llama.cpp scales the attention of a 27B Gemma by another number, that it knows from the count of blocks. A span
 * has fewer, and gets there by scaling other weights: equal but for rounding (0.02 was measured).
 */
const ROUNDING = 0.05

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-certification-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

async function certifyFile(path: string, options: Partial<CertifyOptions> = {}): Promise<CertifyReport> {
  const model = await openModel(path)
  try {
    return await certify(model, { folder, ...options })
  } finally {
    await model.close()
  }
}

async function certifyTiny(
  name: TinyModelName,
  model: TinyModelOptions = {},
  options: Partial<CertifyOptions> = {}
): Promise<CertifyReport> {
  const path = await writeModelFile(folder, `${name}-${model.type ?? 'F32'}`, tinyModel(name, model))
  return certifyFile(path, options)
}

function expectBitEqual(report: CertifyReport): void {
  for (const { cut, largestDifference, bitEqual } of report.cuts) {
    expect({ cut, largestDifference, bitEqual }).toEqual({ cut, largestDifference: 0, bitEqual: true })
  }
}

describe('default cuts', () => {
  test.each(NAMES)('%s', async (name) => {
    const row: ArchitectureRow = TINY_MODELS[name]
    const { blocks } = row.shape
    const report = await certifyTiny(name)
    const third = Math.floor(blocks / 3)
    expect(report.cuts.map(({ cut }) => cut)).toEqual([[1], [blocks / 2], [blocks - 1], [third, 2 * third]])
    if (name.endsWith('-27b')) {
      for (const { largestDifference } of report.cuts) expect(largestDifference).toBeLessThan(ROUNDING)
    } else {
      expectBitEqual(report)
    }
    // llama.cpp turns the window of phi3 off
    const window = row.architecture === 'phi3' ? 0 : (row.keys?.['attention.sliding_window'] ?? 0)
    expect([report.slidingWindow, report.windowWrapped]).toEqual([window, window !== 0])
  })

  test('the demo model', async () => {
    const report = await certifyFile(DEMO)
    expect(report.architecture).toBe('llama')
    expectBitEqual(report)
    // the script's rows, one logit row each: 48 + 4 + (1 + 7) + 24 + 9 + 5 + 2 + 24 + 1 + 48 + 2 + 4 + 3
    expect(report.cuts.map(({ rows }) => rows)).toEqual([182, 182, 182, 182])
  })
})

test.each(['llama', 'gemma2'] as const)('%s: leaving a span two blocks early', async (name) => {
  expectBitEqual(await certifyTiny(name, {}, { overlap: 2, cuts: MIDDLE }))
})

test.each(['F16', 'Q8_0', 'Q4_0', 'Q4_K_M'] as const)('weights as %s', async (type) => {
  expectBitEqual(await certifyTiny('llama-wide', { type }, { cuts: MIDDLE }))
})

// Rows of the cache are heads together; ggml's quantized types need multiples of 32.
test.each(['llama-wide', 'gemma3'] as const)('%s: a quantized KV cache', async (name) => {
  expectBitEqual(await certifyTiny(name, { type: 'F16' }, { kvType: 'q8_0', cuts: MIDDLE }))
})

describe('an architecture that nobody certified', () => {
  test.each(['mamba', 'foo'])('%s is refused by name', async (architecture) => {
    const path = await writeModelFile(folder, architecture, renamed(tinyModel('llama'), architecture))
    const model = await openModel(path)
    const span = writeSpan(model, { start: 0, end: 2 }, folder)
    await expect(span).rejects.toThrow(new RegExp(`"${architecture}".*shoal certify`))
    const whole = writeSpan(model, { start: 0, end: model.blockCount }, folder)
    await expect(whole).rejects.toThrow(new RegExp(`"${architecture}".*shoal certify`))
    await model.close()
  })
})

/** The same file under another architecture's name. */
function renamed(plan: GgufPlan, architecture: string): GgufPlan {
  const metadata = new Map(
    [...plan.metadata].map(([key, value]) => [key.replace(/^llama\./, `${architecture}.`), value])
  )
  metadata.set('general.architecture', { type: 'string', value: architecture })
  return planGguf({ metadata, tensors: plan.tensors })
}
