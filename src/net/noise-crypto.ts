// Noise's cipher with the key prepared once: Node finds out anew for each message what raw key bytes are, which
// costs as much as encrypting a frame does.
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import type { ICryptoInterface } from '@libp2p/noise'
import { defaultCrypto } from '@libp2p/noise/crypto'
import { Uint8ArrayList } from 'uint8arraylist'

const CIPHER = 'chacha20-poly1305'
const TAG_BYTES = 16
/** Below this, the default's WebAssembly is faster than setting up a cipher. */
const SMALL_BYTES = 512

/** Noise keeps a key's bytes for as long as the key is in use. */
const prepared = new WeakMap<Uint8Array, KeyObject>()

function keyObject(key: Uint8Array): KeyObject {
  let object = prepared.get(key)
  if (object === undefined) {
    object = createSecretKey(key)
    prepared.set(key, object)
  }
  return object
}

export const noiseCrypto: ICryptoInterface = {
  ...defaultCrypto,
  chaCha20Poly1305Encrypt(plaintext, nonce, ad, key) {
    const plaintextLength = plaintext.byteLength
    if (plaintextLength < SMALL_BYTES) return defaultCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key)
    const cipher = createCipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(ad, { plaintextLength })
    const output = new Uint8ArrayList(...pieces(plaintext).map((piece) => cipher.update(piece)))
    cipher.final() // a stream cipher holds nothing back
    output.append(cipher.getAuthTag())
    return output
  },
  chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key, target) {
    const plaintextLength = ciphertext.byteLength - TAG_BYTES
    if (plaintextLength < SMALL_BYTES) {
      return defaultCrypto.chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key, target)
    }
    const decipher = createDecipheriv(CIPHER, keyObject(key), nonce, { authTagLength: TAG_BYTES })
    decipher.setAAD(ad, { plaintextLength })
    decipher.setAuthTag(ciphertext.subarray(plaintextLength))
    const text =
      'sublist' in ciphertext
        ? ciphertext.sublist(0, plaintextLength)
        : ciphertext.subarray(0, plaintextLength)
    const output = new Uint8ArrayList(...pieces(text).map((piece) => decipher.update(piece)))
    decipher.final() // throws when the tag is wrong
    return output
  }
}

function pieces(bytes: Uint8Array | Uint8ArrayList): Uint8Array[] {
  return bytes instanceof Uint8Array ? [bytes] : [...bytes]
}
