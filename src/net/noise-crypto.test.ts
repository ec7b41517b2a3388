import { defaultCrypto } from '@libp2p/noise/crypto'
import fc from 'fast-check'
import { Uint8ArrayList } from 'uint8arraylist'
import { expect, test } from 'vitest'
import { noiseCrypto } from './noise-crypto.ts'

const key = new Uint8Array(32).fill(7)
const nonce = new Uint8Array(12).fill(9)
const none = new Uint8Array(0)
const bytes = fc.uint8Array({ maxLength: 4096, size: 'max' })

test('what either implementation encrypts, the other decrypts, in one piece or several', () => {
  fc.assert(
    fc.property(bytes, bytes, (first, second) => {
      const plaintext = new Uint8ArrayList(first, second)
      for (const [ours, theirs] of [
        [noiseCrypto, defaultCrypto],
        [defaultCrypto, noiseCrypto]
      ] as const) {
        const sealed = ours.chaCha20Poly1305Encrypt(plaintext, nonce, none, key)
        expect(sealed.byteLength).toBe(plaintext.byteLength + 16)
        const opened = theirs.chaCha20Poly1305Decrypt(sealed, nonce, none, key)
        expect(Buffer.from(opened.subarray())).toEqual(Buffer.from(plaintext.subarray()))
      }
    }),
    { seed: 1, numRuns: 200 }
  )
})

test('a changed byte is noticed', () => {
  const sealed = noiseCrypto
    .chaCha20Poly1305Encrypt(new Uint8Array(2000), nonce, none, key)
    .subarray()
    .slice()
  sealed[1000] = 255 - (sealed[1000] as number)
  expect(() => noiseCrypto.chaCha20Poly1305Decrypt(sealed, nonce, none, key)).toThrow()
})
