// A span's files are written once, whole or not at all.
import { copyFile, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import { FileSource } from '../common/index.ts'
import { readGguf } from '../gguf/index.ts'
import { type ModelFile, openModel } from './model-file.ts'
import { type SpanOptions, writeSpan } from './span-files.ts'

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

async function writeMiddle(options: SpanOptions = {}): Promise<string> {
  const { files } = await writeSpan(model, { start: 2, end: 4 }, folder, options)
  expect(files).toHaveLength(1)
  return files[0] as string
}

async function written(): Promise<string[]> {
  return (await readdir(join(folder, model.id))).toSorted()
}

test('a span is a GGUF of its blocks, in a folder of its model', async () => {
  const path = await writeMiddle()
  expect(path).toBe(join(folder, model.id, 'blocks-2-4.gguf'))
  const source = await FileSource.open(path)
  const { metadata } = await readGguf(source)
  expect(metadata.get('llama.block_count')?.value).toBe(2)
  await source.close()
})

test('the first span has its embedding beside it, the bytes as in the model', async () => {
  const { files, embedding, bytes } = await writeSpan(model, { start: 0, end: 2 }, folder)
  expect(await written()).toEqual(['blocks-0-2.gguf', 'embedding.gguf'])
  const sizes = await Promise.all(
    [...files, embedding?.file as string].map(async (file) => (await stat(file)).size)
  )
  expect(bytes).toBe(sizes.reduce((sum, size) => sum + size))
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

test('a complete file is used again', async () => {
  const path = await writeMiddle()
  const { ino, mtimeMs } = await stat(path)
  let reported = 0
  await writeMiddle({ onProgress: () => reported++ })
  expect(await stat(path)).toMatchObject({ ino, mtimeMs })
  expect(reported).toBe(0)
})

test.each([
  ['was cut short', (path: string) => truncate(path, 5000)],
  ['is empty', (path: string) => truncate(path, 0)],
  ['is something else', (path: string) => writeFile(path, 'not a model')],
  ['is another span', (path: string) => copyFile(join(folder, 'model.gguf'), path)],
  ['has a changed header', (path: string) => changeByte(path, 200)]
])('a file that %s is written anew', async (_, damage) => {
  const path = await writeMiddle()
  const right = await readFile(path)
  await damage(path)
  expect(await writeMiddle()).toBe(path)
  expect((await readFile(path)).equals(right)).toBe(true)
})

test('giving up leaves nothing', async () => {
  const controller = new AbortController()
  const progress: { bytes: number; total: number }[] = []
  const writing = writeMiddle({
    signal: controller.signal,
    onProgress: (step) => {
      progress.push(step)
      controller.abort()
    }
  })
  await expect(writing).rejects.toThrow(/abort/i)
  expect(progress[0]?.bytes).toBeLessThan(progress[0]?.total ?? 0)
  expect(await written()).toEqual([])
})

test('many writers of one span at once make one file', async () => {
  const paths = await Promise.all(Array.from({ length: 5 }, () => writeMiddle()))
  expect(new Set(paths).size).toBe(1)
  expect(await written()).toEqual([basename(paths[0] as string)])
  await expect(openModel(paths[0] as string)).rejects.toThrow('some blocks of a model, not the whole')
})

test.each([
  [0, 0],
  [3, 2],
  [-1, 2],
  [5, 7],
  [0.5, 2]
])('blocks %d to %d are refused', async (start, end) => {
  await expect(writeSpan(model, { start, end }, folder)).rejects.toThrow()
  expect(await readdir(folder)).toEqual(['model.gguf'])
})

async function changeByte(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+')
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, offset)
  await file.write(Buffer.of((buffer[0] as number) ^ 1), 0, 1, offset)
  await file.close()
}
