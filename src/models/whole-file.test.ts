import { copyFile, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openModel } from './model-file.ts'
import { WholeFile } from './whole-file.ts'

let folder: string
let path: string
let whole: WholeFile

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-whole-'))
  path = join(folder, 'model.gguf')
  await copyFile('models/demo.gguf', path)
  whole = new WholeFile(await openModel(path))
})

afterAll(async () => {
  await whole.close()
  await rm(folder, { recursive: true, force: true })
})

test('a file has all pieces of its model', async () => {
  const { pieces } = whole.manifest
  const count = pieces?.count ?? 0
  const bits = [...whole.bitfield].flatMap((byte) => [...byte.toString(2).padStart(8, '0')].map(Number))
  expect(bits.slice(0, count).every((bit) => bit === 1)).toBe(true)
  expect(bits.slice(count).every((bit) => bit === 0)).toBe(true)
  for (let index = 0; index < count; index++) {
    expect(whole.has(index)).toBe(true)
    expect(pieces?.isIntact(index, await whole.read(index))).toBe(true)
  }
  expect(whole.has(count)).toBe(false)
})

test('a file that has changed gives nothing that is wrong', async () => {
  const file = await open(path, 'r+')
  await file.write(Uint8Array.of(255, 255, 255, 255), 0, 4, (await file.stat()).size - 5_000)
  await file.close()
  const last = (whole.manifest.pieces?.count ?? 0) - 1
  const reads = await Promise.allSettled(Array.from({ length: last + 1 }, (_, index) => whole.read(index)))
  expect(reads.filter(({ status }) => status === 'rejected')).toHaveLength(1)
})
