import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pieceMessage } from './arbitraries.ts'
import { WireError } from './errors.ts'
import { MAX_CHUNK_BYTES } from './limits.ts'
import { decodePieceFrame, encodeChunk, encodePieceMessage } from './piece-frame.ts'

const SEED = 20_261_121
const LENGTH_BYTES = 4
const CHUNK = encodeChunk({ type: 'chunk', index: 7, offset: 65_536, bytes: Uint8Array.of(1, 2, 3) })

/** What a peer may send gives a value or a WireError. */
function isRefused(frame: Uint8Array): boolean {
  try {
    decodePieceFrame(frame)
    return false
  } catch (error) {
    expect(error).toBeInstanceOf(WireError)
    return true
  }
}

describe('what a piece stream carries', () => {
  test('comes back as it was', () => {
    const property = fc.property(pieceMessage, (message) => {
      expect(decodePieceFrame(encodePieceMessage(message).subarray(LENGTH_BYTES))).toEqual(message)
    })
    fc.assert(property, { seed: SEED })
    const chunk = { type: 'chunk', index: 7, offset: 65_536, bytes: Uint8Array.of(1, 2, 3) }
    expect(decodePieceFrame(CHUNK.subarray(LENGTH_BYTES))).toEqual(chunk)
  })

  test('costs a chunk 13 bytes', () => {
    expect(CHUNK.byteLength).toBe(13 + 3)
  })

  test('is refused or read, whatever its bytes', () => {
    let refused = 0
    const property = fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(2), (bytes, kind) => {
      if (isRefused(Uint8Array.of(kind, ...bytes))) refused++
    })
    fc.assert(property, { seed: SEED, numRuns: 3_000 })
    expect(refused).toBeGreaterThan(1_000)
  })

  test.each([
    ['nothing', new Uint8Array(0)],
    ['a chunk without bytes', Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0)],
    ['a chunk of a piece that no model has', Uint8Array.of(1, 255, 255, 255, 255, 0, 0, 0, 0, 1)],
    ['a chunk above its bound', new Uint8Array(9 + MAX_CHUNK_BYTES + 1).fill(1, 0, 1)]
  ])('refuses %s', (_, frame) => {
    expect(isRefused(frame)).toBe(true)
  })
})
