import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LlamaEngine } from '../engine/index.ts'
import { openModel, writeSpan } from '../models/index.ts'
import { measureSpeed } from './benchmark.ts'
import { ArithmeticEngine } from './testing.ts'

describe('the short benchmark', () => {
  test('times single rows and rows of a prompt apart, and leaves nothing behind', async () => {
    const engine = new ArithmeticEngine({ maxRows: 64 })
    engine.duration = (rows) => 4 + rows / 4
    const { decodeMicroseconds, prefillMicroseconds } = await measureSpeed(engine)
    expect(decodeMicroseconds).toBeGreaterThan(3_500)
    expect(prefillMicroseconds).toBeLessThan(decodeMicroseconds / 2)
    expect(Math.max(...engine.batches.map(([group]) => group?.tokens.length ?? 0))).toBe(64)
    expect(engine.histories[0]).toEqual([])
  })

  test('fits into a context that holds next to nothing', async () => {
    const speed = await measureSpeed(new ArithmeticEngine({ context: 2 }))
    expect(speed.decodeMicroseconds).toBeGreaterThan(0)
  })
})

describe('a real span', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'shoal-benchmark-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  test.each([
    [0, 3],
    [3, 5],
    [5, 8],
    [0, 8]
  ])('of blocks %i-%i is measured, wherever it lies', async (start, end) => {
    const model = await openModel('models/demo.gguf')
    const { files, embedding } = await writeSpan(model, { start, end }, folder)
    await model.close()
    const table = embedding === undefined ? {} : { embedding }
    const engine = new LlamaEngine({ files, ...table, context: 256, sequences: 2, threads: 1, gpuLayers: 0 })
    try {
      await engine.start()
      const { decodeMicroseconds, prefillMicroseconds } = await measureSpeed(engine)
      expect(decodeMicroseconds).toBeGreaterThan(0)
      expect(prefillMicroseconds).toBeLessThan(decodeMicroseconds)
    } finally {
      await engine.stop()
    }
  })
})
