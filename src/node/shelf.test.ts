import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { planGguf } from '../gguf/index.ts'
import { spanBytes } from '../swarm/index.ts'
import type { Library } from './library.ts'
import { loadingInfo, openShelf } from './shelf.ts'
import { libraryIn } from './testing.ts'

const SETTINGS = { context: 512, sessions: 2, kvType: 'f16' } as const
const DEMO = 'models/demo.gguf'

let folder: string
let library: Library
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-shelf-'))
  library = libraryIn(join(folder, 'store'))
})
afterAll(async () => {
  await library.stop()
  await rm(folder, { recursive: true, force: true })
})

test('models by their ids, with what their blocks take', async () => {
  const path = await writeModelFile(folder, 'tiny', tinyModel('qwen3'))
  const shelf = await openShelf([DEMO, path], library, SETTINGS)
  expect([...shelf.values()].map((one) => one.called)).toEqual([DEMO, path])
  for (const [id, { hostable }] of shelf) {
    expect(hostable).toMatchObject({ model: id, positions: 512, profile: { kvTypeK: 'f16' } })
    const sum = (start: number, end: number): number => spanBytes(hostable, { start, end })
    const { blockCount, headBytes, embeddingBytes } = hostable
    expect(sum(1, 2)).toBeGreaterThan(512)
    expect(sum(0, 1)).toBeGreaterThan(embeddingBytes)
    expect(sum(blockCount - 1, blockCount)).toBeGreaterThan(headBytes)
    expect(sum(0, 1) + sum(1, blockCount)).toBe(sum(0, blockCount))
  }
})

test('a longer context and a wider cache take more', async () => {
  const bytes = async (settings: Parameters<typeof openShelf>[2]): Promise<number> => {
    const [shelved] = [...(await openShelf([DEMO], library, settings)).values()]
    return shelved === undefined ? 0 : spanBytes(shelved.hostable, { start: 2, end: 3 })
  }
  const least = await bytes(SETTINGS)
  expect(await bytes({ ...SETTINGS, context: 1024 })).toBeGreaterThan(least)
  expect(await bytes({ ...SETTINGS, kvType: 'f32' })).toBeGreaterThan(least)
})

test('the same model twice is one', async () => {
  expect((await openShelf([DEMO, DEMO], library, SETTINGS)).size).toBe(1)
})

test('what is no model, is not there, or is not certified is refused', async () => {
  const text = join(folder, 'text.gguf')
  await writeFile(text, 'no model')
  await expect(openShelf([text], library, SETTINGS)).rejects.toThrow(/text\.gguf: .*no GGUF file/)
  await expect(openShelf([join(folder, 'none.gguf')], library, SETTINGS)).rejects.toMatchObject({
    code: 'MODEL_FILE'
  })
  const { metadata, tensors } = tinyModel('llama')
  const changed = new Map(metadata)
    .set('general.architecture', { type: 'string', value: 'mamba' })
    .set('mamba.block_count', { type: 'u32', value: 2 })
  const strange = await writeModelFile(folder, 'strange', planGguf({ metadata: changed, tensors }))
  await expect(openShelf([DEMO, strange], library, SETTINGS)).rejects.toThrow(/strange\.gguf: .*mamba/)
})

test('what is said of a span that is being loaded', async () => {
  const [shelved] = [...(await openShelf([DEMO], library, SETTINGS)).values()]
  if (shelved === undefined) throw new Error('no model')
  const info = (start: number, end: number) => loadingInfo(shelved, { start, end }, SETTINGS)
  expect(info(0, 3)).toMatchObject({
    state: 'loading',
    embedding: true,
    head: false,
    context: 512,
    sessions: 2
  })
  expect(info(3, 8)).toMatchObject({ state: 'loading', embedding: false, head: true, start: 3, end: 8 })
})
