import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeFolder } from './folder.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-folder-'))
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('folders above are made, too, and what is there is left alone', async () => {
  const path = join(folder, 'a', 'b', 'c')
  makeFolder(path, 0o700)
  makeFolder(path)
  expect((await stat(path)).mode & 0o777).toBe(0o700)
})

test('a file in the way is an error', async () => {
  await writeFile(join(folder, 'file'), '')
  expect(() => makeFolder(join(folder, 'file', 'below'))).toThrow('ENOTDIR')
})

test.skipIf(process.platform !== 'linux')('where nobody can make folders, it ends', () => {
  expect(() => makeFolder('/proc/nothing/here')).toThrow('no folder can be made at /proc/nothing')
})
