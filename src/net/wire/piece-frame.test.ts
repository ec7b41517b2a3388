import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pieceMessage } from './arbitraries.ts'
import { WireError } from './errors.ts'
import { MAX_CHUNK_BYTES, MAX_PIECE_MESSAGE_BYTES } from './limits.ts'
import { encodeChunk, encodePieceMessage, PieceDecoder } from './piece-frame.ts'
import type { PieceChunk, PieceMessage } from './types.ts'

const SEED = 20_261_121
const CHUNK: PieceChunk = { type: 'chunk', index: 7, offset: 65_536, bytes: Uint8Array.of(1, 2, 3) }

const chunk: fc.Arbitrary<PieceChunk> = fc.record({
  type: fc.constant('chunk' as const),
  index: fc.nat(1_000),
  offset: fc.nat(1_000),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 50 })
})

function bytesOf(values: readonly (PieceMessage | PieceChunk)[]): Uint8Array {
  const encode = (value: PieceMessage | PieceChunk) =>
    value.type === 'chunk' ? encodeChunk(value) : encodePieceMessage(value)
  return Buffer.concat(values.map((value) => encode(value).subarray()))
}

/** With the parts of each chunk put together again. */
function decodeAll(
  bytes: Uint8Array,
  cuts: readonly number[] = []
): { values: (PieceMessage | PieceChunk)[]; isWhole: boolean } {
  const decoder = new PieceDecoder()
  const values: (PieceMessage | PieceChunk)[] = []
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  let start = 0
  for (const end of ends) {
    for (const value of decoder.decode(bytes.subarray(start, end))) values.push(value)
    start = end
  }
  return { values, isWhole: decoder.isBetweenFrames }
}

function joined(values: readonly (PieceMessage | PieceChunk)[]): (PieceMessage | PieceChunk)[] {
  const result: (PieceMessage | PieceChunk)[] = []
  for (const value of values) {
    const last = result.at(-1)
    const follows =
      value.type === 'chunk' &&
      last?.type === 'chunk' &&
      value.index === last.index &&
      value.offset === last.offset + last.bytes.byteLength
    if (!follows)
      result.push(value.type === 'chunk' ? { ...value, bytes: Uint8Array.from(value.bytes) } : value)
    else result.splice(-1, 1, { ...last, bytes: Uint8Array.of(...last.bytes, ...value.bytes) })
  }
  return result
}

/** What a peer may send gives values or a WireError. */
function isRefused(bytes: Uint8Array): boolean {
  try {
    decodeAll(bytes)
    return false
  } catch (error) {
    expect(error).toBeInstanceOf(WireError)
    return true
  }
}

describe('what a piece stream carries', () => {
  test('comes back as it was, however the bytes are cut', () => {
    const sent = fc.array(fc.oneof(pieceMessage, chunk), { minLength: 1, maxLength: 5 })
    const property = fc.property(sent, fc.array(fc.nat(), { maxLength: 30 }), (values, cuts) => {
      const received = decodeAll(bytesOf(values), cuts)
      expect(joined(received.values)).toEqual(joined(values))
      expect(received.isWhole).toBe(true)
    })
    fc.assert(property, { seed: SEED, numRuns: 500 })
  })

  test('byte by byte', () => {
    const bytes = bytesOf([CHUNK, { type: 'choke' }])
    expect(joined(decodeAll(bytes, [...bytes.keys()]).values)).toEqual([CHUNK, { type: 'choke' }])
  })

  test('costs a chunk 13 bytes, and is not copied', () => {
    const parts = [...encodeChunk(CHUNK)]
    expect(parts[0]).toHaveLength(13)
    expect(parts[1]?.buffer).toBe(CHUNK.bytes.buffer)
    const bytes = bytesOf([CHUNK])
    const [decoded] = decodeAll(bytes).values
    expect((decoded as PieceChunk).bytes.buffer).toBe(bytes.buffer)
  })

  test('is known to be cut off', () => {
    const bytes = bytesOf([CHUNK])
    for (let length = 1; length < bytes.length; length++) {
      expect(decodeAll(bytes.subarray(0, length)).isWhole).toBe(false)
    }
  })

  test('is refused or read, whatever its bytes', () => {
    let refused = 0
    const frame = fc.tuple(fc.nat(60), fc.nat(2), fc.uint8Array({ minLength: 60, maxLength: 100 }))
    const property = fc.property(frame, ([length, kind, bytes]) => {
      if (isRefused(Uint8Array.of(length, 0, 0, 0, kind, ...bytes))) refused++
    })
    fc.assert(property, { seed: SEED, numRuns: 3_000 })
    expect(refused).toBeGreaterThan(1_000)
  })

  const length = (bytes: number): number[] => [...new Uint8Array(Uint32Array.of(bytes).buffer)]
  test.each([
    ['a chunk without bytes', [...length(9), 1, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['a chunk of a piece that no model has', [...length(10), 1, 255, 255, 255, 255, 0, 0, 0, 0]],
    ['a chunk above its bound', [...length(10 + MAX_CHUNK_BYTES), 1, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['a message above its bound, before it has come', [...length(2 + MAX_PIECE_MESSAGE_BYTES), 0]],
    ['a message of 4 GiB', [...length(0xffffffff), 0]],
    ['a frame without a kind', [...length(0), 0]],
    ['a kind that is not known', [...length(10), 2]]
  ])('refuses %s', (_, bytes) => {
    expect(isRefused(Uint8Array.from(bytes))).toBe(true)
  })
})
