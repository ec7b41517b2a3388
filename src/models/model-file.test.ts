// Opening models: of one file or of several parts, and what is no model.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { LlamaEngine } from '../engine/index.ts'
import { type GgufPlan, type Metadata, planGguf } from '../gguf/index.ts'
import { openModel } from './model-file.ts'
import { writeSpan } from './span-files.ts'

const PARTS = 3

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-models-'))
})

afterEach(() => rm(folder, { recursive: true }))

const partName = (index: number): string => `tiny-0000${index + 1}-of-0000${PARTS}`

/** Writes a model in parts, as llama.cpp's gguf-split does: all keys in the first, the tensors spread. */
async function writeParts(plan: GgufPlan): Promise<string[]> {
  const share = Math.ceil(plan.tensors.length / PARTS)
  const paths: string[] = []
  for (let part = 0; part < PARTS; part++) {
    const metadata: Metadata = new Map(part === 0 ? plan.metadata : [])
    metadata.set('split.no', { type: 'u16', value: part })
    metadata.set('split.count', { type: 'u16', value: PARTS })
    metadata.set('split.tensors.count', { type: 'i32', value: plan.tensors.length })
    const tensors = plan.tensors.slice(part * share, (part + 1) * share)
    paths.push(await writeModelFile(folder, partName(part), planGguf({ metadata, tensors })))
  }
  return paths
}

test('one file', async () => {
  const path = await writeModelFile(folder, 'tiny', tinyModel('qwen3'))
  const model = await openModel(path)
  expect(model).toMatchObject({ path, files: [path], name: 'tiny qwen3', architecture: 'qwen3' })
  expect(model).toMatchObject({ blockCount: 6, width: 96 })
  expect(model.id).toMatch(/^[0-9a-f]{64}$/)
  await model.close()
})

test('parts are the same model as one file, run and are cut like it', async () => {
  const plan = tinyModel('llama')
  const single = await openModel(await writeModelFile(folder, 'tiny', plan))
  const paths = await writeParts(plan)
  const model = await openModel(paths[0] as string)
  expect(model.files).toEqual(paths)
  expect(model.id).toBe(single.id)

  const init = { context: 256, sequences: 1, threads: 1, gpuLayers: 0 }
  const engine = new LlamaEngine({ files: model.files, ...init })
  await engine.start()
  expect(engine.description.blocks).toBe(6)
  await engine.stop()

  const ours = await writeSpan(model, { start: 1, end: 3 }, join(folder, 'a'))
  const theirs = await writeSpan(single, { start: 1, end: 3 }, join(folder, 'b'))
  expect(ours.bytes).toBe(theirs.bytes)
  await Promise.all([model.close(), single.close()])
})

test('a missing part is an error', async () => {
  const paths = await writeParts(tinyModel('llama'))
  await rm(paths[1] as string)
  await expect(openModel(paths[0] as string)).rejects.toMatchObject({ name: 'GgufError' })
})

test('what is no model is an error', async () => {
  await writeFile(join(folder, 'text.gguf'), 'Once upon a time, there was a file of text.')
  await expect(openModel(join(folder, 'text.gguf'))).rejects.toMatchObject({ name: 'GgufError' })
  await expect(openModel(join(folder, 'none.gguf'))).rejects.toThrow('there is no such file')
})
