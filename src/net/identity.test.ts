import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadIdentity } from './identity.ts'

let directory: string
let keyPath: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shoal-identity-'))
  keyPath = join(directory, 'deeper', 'key')
})
afterEach(() => rmSync(directory, { recursive: true }))

test('a key is created once, for its owner only, and nothing else is left', () => {
  const first = loadIdentity({ keyPath })
  expect(statSync(keyPath).mode & 0o777).toBe(0o600)
  expect(readdirSync(join(directory, 'deeper'))).toEqual(['key'])
  expect(loadIdentity({ keyPath }).equals(first)).toBe(true)
})

test('a created key signs what its public key verifies', async () => {
  const key = loadIdentity({ ephemeral: true })
  const message = Uint8Array.of(1, 2, 3)
  expect(await key.publicKey.verify(message, await key.sign(message))).toBe(true)
})

test('a given key is used', async () => {
  const key = await generateKeyPair('Ed25519')
  expect(loadIdentity({ privateKey: privateKeyToProtobuf(key) }).equals(key)).toBe(true)
})

test('a file that others can read is refused, with what to do', () => {
  loadIdentity({ keyPath })
  chmodSync(keyPath, 0o640)
  expect(() => loadIdentity({ keyPath })).toThrow(
    expect.objectContaining({ code: 'IDENTITY', message: expect.stringContaining(`chmod 600 ${keyPath}`) })
  )
})

test.each([
  ['empty', new Uint8Array(0)],
  ['of random bytes', new Uint8Array(68).fill(0xa5)],
  ['cut short', new Uint8Array([8, 1, 18, 64, 1, 2, 3])],
  ['far too large', new Uint8Array(1_000_000)]
])('a file %s is refused and not overwritten', (_, bytes) => {
  keyPath = join(directory, 'key')
  writeFileSync(keyPath, bytes, { mode: 0o600 })
  expect(() => loadIdentity({ keyPath })).toThrow(
    expect.objectContaining({
      code: 'IDENTITY',
      message: expect.stringContaining('restore it from a backup')
    })
  )
  expect(statSync(keyPath).size).toBe(bytes.byteLength)
})

test('a key of another type is refused', async () => {
  const key = privateKeyToProtobuf(await generateKeyPair('secp256k1'))
  expect(() => loadIdentity({ privateKey: key })).toThrow(expect.objectContaining({ code: 'IDENTITY' }))
})
