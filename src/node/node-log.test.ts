import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { NodeLog, type NodeLogInit, readLog } from './node-log.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-log-'))
  path = join(folder, 'logs', 'node.log')
})

afterEach(() => rm(folder, { recursive: true }))

const newLog = (init: Partial<NodeLogInit> = {}): NodeLog => new NodeLog({ path, level: 'info', ...init })

async function messages(count = 1_000): Promise<string[]> {
  const { signal } = new AbortController()
  const lines = await Array.fromAsync(readLog(path, { count, follow: false, signal }))
  return lines.map(({ message }) => message)
}

test('keeps what matters, for its owner only, and goes on where it was', async () => {
  expect(await messages()).toEqual([])
  const log = newLog()
  log.debug('nothing')
  log.info('one\ntwo')
  newLog().error('three')
  expect(await messages()).toEqual(['one\ntwo', 'three'])
  expect(await messages(1)).toEqual(['three'])
  expect(await messages(0)).toEqual([])
  expect((await stat(path)).mode & 0o077).toBe(0)
})

test('is two files of bounded size', async () => {
  const log = newLog({ maxBytes: 1_000 })
  for (let index = 0; index < 500; index++) log.warn(`message ${index}`)
  log.warn('é'.repeat(100_000))
  const files = await readdir(join(folder, 'logs'))
  expect(files.toSorted()).toEqual(['node.log', 'node.log.1'])
  const all = await messages()
  expect(all.at(-2)).toBe('message 499')
  expect(all.length).toBeLessThan(40)
  expect((await stat(`${path}.1`)).size).toBeLessThanOrEqual(1_000)
})

test('damaged lines are passed over', async () => {
  newLog().info('one')
  await writeFile(path, '{"time":"x"}\nnoise\n{"mess', { flag: 'a' })
  expect(await messages()).toEqual(['one'])
})

test('is followed, across its end', async () => {
  const log = newLog({ maxBytes: 500 })
  log.info('before')
  const controller = new AbortController()
  const { signal } = controller
  const seen: string[] = []
  for await (const { message } of readLog(path, { count: 1, follow: true, signal })) {
    seen.push(message)
    if (seen.length % 3 === 1) for (let more = 0; more < 3; more++) log.info(`message ${seen.length + more}`)
    if (seen.length === 30) controller.abort()
  }
  expect(seen).toEqual(['before', ...Array.from({ length: 29 }, (_, index) => `message ${index + 1}`)])
})

test('where nothing can be written, it goes on', async () => {
  await writeFile(join(folder, 'logs'), '')
  newLog().info('lost')
  await expect(messages()).rejects.toThrow()
})
