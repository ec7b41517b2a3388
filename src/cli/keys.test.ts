import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { KeyStore } from '../gateway/index.ts'
import { keysCommand } from './keys.ts'

let folder: string
let path: string
let printed: string[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-cli-keys-'))
  path = join(folder, 'keys.db')
  printed = []
  vi.spyOn(console, 'log').mockImplementation((text: string) => void printed.push(text))
  vi.spyOn(console, 'error').mockImplementation(() => {})
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true })
})

async function keys(...args: string[]): Promise<string> {
  printed.length = 0
  await keysCommand().parseAsync([...args, '--keys', path], { from: 'user' })
  return printed.join('\n')
}

test('a key that was made is good, is listed without its secret, and ends when it is revoked', async () => {
  const secret = await keys('create', '--name', 'my app', '--requests-per-minute', '5', '--concurrency', '2')
  const store = new KeyStore(path)
  const { id } = store.check(secret, Date.now()) ?? {}
  expect(id).toMatch(/^[0-9a-f]{8}$/)
  const list = await keys('list')
  expect(list).toMatch(`${id}  my app`)
  expect(list).toContain('5 requests per minute, 2 answers at once')
  expect(list).not.toContain(secret)
  await keys('revoke', String(id))
  expect(store.check(secret, Date.now())).toBeUndefined()
  store.close()
  expect(await keys('list')).toContain('revoked')
  await expect(keys('revoke', String(id))).rejects.toThrow('no key')
})

test('as JSON', async () => {
  const made = JSON.parse(await keys('create', '--tokens-per-minute', '7', '--json'))
  expect(made).toMatchObject({ key: expect.stringContaining('sk-shoal-'), tokensPerMinute: 7, used: null })
  const { key: _, ...listed } = made
  expect(JSON.parse(await keys('list', '--json'))).toEqual([listed])
})
