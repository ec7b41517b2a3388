// What a span needs is known before it is loaded: compared with what is written for it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { memoryOf } from './memory.ts'
import { type ModelFile, openModel } from './model-file.ts'
import { writeSpan } from './span-files.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-memory-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function withModel<T>(path: string, use: (model: ModelFile) => Promise<T>): Promise<T> {
  const model = await openModel(path)
  return await use(model).finally(() => model.close())
}

/** A header, and dummies in place of what a span does not have. */
const SLACK_BYTES = 64 * 1024

test('blocks, embedding and head are what a span has on disk', async () => {
  await withModel('models/demo.gguf', async (model) => {
    const { blockBytes, embeddingBytes, headBytes } = memoryOf(model, 'f16')
    expect(blockBytes).toHaveLength(8)
    const sum = (from: number, to: number): number =>
      blockBytes.slice(from, to).reduce((total, bytes) => total + bytes, 0)
    const first = await writeSpan(model, { start: 0, end: 3 }, folder)
    expect(first.bytes - sum(0, 3) - embeddingBytes).toBeGreaterThanOrEqual(0)
    expect(first.bytes - sum(0, 3) - embeddingBytes).toBeLessThan(SLACK_BYTES)
    const last = await writeSpan(model, { start: 3, end: 8 }, folder)
    expect(last.bytes - sum(3, 8) - headBytes).toBeGreaterThanOrEqual(0)
    expect(last.bytes - sum(3, 8) - headBytes).toBeLessThan(SLACK_BYTES)
  })
})

test('positions count key and value heads, in the type that they are stored as', async () => {
  await withModel('models/demo.gguf', async (model) => {
    const { metadata } = model.gguf
    const number = (key: string): number => metadata.get(`${model.architecture}.${key}`)?.value as number
    const perHead = model.width / number('attention.head_count')
    const values = number('attention.head_count_kv') * 2 * perHead
    expect(memoryOf(model, 'f16').positionBytes).toEqual(Array.from({ length: 8 }, () => values * 2))
    expect(memoryOf(model, 'q8_0').positionBytes[0]).toBe(values * 1.0625)
  })
})

test('a head that has its own matrix is counted once, whatever the architecture', async () => {
  const path = await writeModelFile(folder, 'untied', tinyModel('qwen3moe'))
  await withModel(path, async (model) => {
    const { blockBytes, embeddingBytes, headBytes } = memoryOf(model, 'f16')
    const all = [...model.gguf.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
    const counted = blockBytes.reduce((sum, bytes) => sum + bytes, embeddingBytes + headBytes)
    expect(counted).toBe(all)
  })
})
