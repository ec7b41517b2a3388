import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { KeyStore } from './keys.ts'

let folder: string
let path: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-keys-'))
  path = join(folder, 'sub', 'keys.db')
})
afterEach(() => rmSync(folder, { recursive: true }))

test('a key is good until it is revoked, by another process too', () => {
  const store = new KeyStore(path)
  const other = new KeyStore(path)
  const { secret, key } = other.create('app', { requestsPerMinute: 5, concurrency: 2 }, 1_000)
  expect(secret).toMatch(/^sk-shoal-[\w-]{43}$/)
  expect(store.check(secret, 2_000)).toEqual(key)
  expect(key).toMatchObject({ name: 'app', limits: { requestsPerMinute: 5, concurrency: 2 }, created: 1_000 })
  expect(key.limits.tokensPerMinute).toBeUndefined()
  expect(store.check(`${secret}x`, 2_000)).toBeUndefined()
  expect(store.check('', 2_000)).toBeUndefined()
  expect(other.revoke(key.id, 3_000)).toBe(true)
  expect(other.revoke(key.id, 4_000)).toBe(false)
  expect(store.check(secret, 4_000)).toBeUndefined()
  expect(other.list()).toMatchObject([{ id: key.id, revoked: 3_000 }])
  store.close()
  other.close()
})

test('the file has hashes only, and is for its user only', () => {
  const store = new KeyStore(path)
  const { secret } = store.create('app', {}, 0)
  store.close()
  for (const file of readdirSync(join(folder, 'sub'))) {
    expect(readFileSync(join(folder, 'sub', file)).includes(secret.slice(9))).toBe(false)
  }
  expect(statSync(path).mode & 0o077).toBe(0)
})

test('an equal id is not enough', () => {
  const store = new KeyStore(path)
  const { secret, key } = store.create('app', {}, 0)
  store.close()
  const database = new DatabaseSync(path)
  database.prepare('UPDATE keys SET hash = ? WHERE id = ?').run(new Uint8Array(32), key.id)
  database.close()
  const again = new KeyStore(path)
  expect(again.check(secret, 0)).toBeUndefined()
  again.close()
})

test('when it was used last is written later', () => {
  const store = new KeyStore(path)
  const { secret } = store.create('app', {}, 1_000)
  store.check(secret, 2_000)
  store.check(secret, 3_000)
  expect(store.list()[0]?.used).toBeUndefined()
  store.flush()
  expect(store.list()[0]?.used).toBe(3_000)
  store.close()
  store.close()
})

test('a file that is none, or of another version, is refused with a word', () => {
  new KeyStore(path).close()
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 9')
  database.close()
  expect(() => new KeyStore(path)).toThrow('another version')
  writeFileSync(
    join(folder, 'text'),
    'no database, but a text that is long enough to look like one'.repeat(20)
  )
  expect(() => new KeyStore(join(folder, 'text'))).toThrow('No keys can be kept')
  expect(() => new KeyStore(folder)).toThrow('No keys can be kept')
})
