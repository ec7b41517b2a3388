import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { type ModelFile, openModel } from './model-file.ts'
import { writeSpan } from './span-files.ts'

const BLOCKS = 6

let folder: string
let model: ModelFile

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-spans-'))
  model = await openModel(await writeModelFile(folder, 'model', tinyModel('llama')))
})

afterEach(async () => {
  await model.close()
  await rm(folder, { recursive: true })
})

test('the first span has its embedding beside it, the bytes as in the model', async () => {
  const { files, embedding } = await writeSpan(model, { start: 0, end: 2 }, join(folder, 'store'))
  expect(files).not.toContain(embedding?.file)
  const tensor = model.gguf.tensors.get('token_embd.weight')
  expect((embedding?.rowBytes ?? 0) * (embedding?.vocabulary ?? 0)).toBe(tensor?.byteLength)
  const whole = await readFile(model.path)
  const copy = await readFile(embedding?.file as string)
  const [from, at, length] = [tensor?.offset ?? 0, embedding?.offset ?? 0, tensor?.byteLength ?? 0]
  expect(copy.subarray(at, at + length).equals(whole.subarray(from, from + length))).toBe(true)
})

test('the whole model is used in place', async () => {
  const { files, embedding } = await writeSpan(model, { start: 0, end: BLOCKS }, folder)
  expect([files, embedding]).toEqual([[model.path], undefined])
  expect(await readdir(folder)).toEqual(['model.gguf'])
})

test.each([
  [0, 0],
  [3, 2],
  [-1, 2],
  [5, 7],
  [0.5, 2]
])('blocks %d to %d are refused', async (start, end) => {
  await expect(writeSpan(model, { start, end }, folder)).rejects.toThrow()
})
