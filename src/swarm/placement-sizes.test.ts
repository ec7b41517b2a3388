import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeOffer, encodeOffer } from './placement-offer.ts'
import {
  type Caps,
  type HostableModel,
  largestSpanFrom,
  reach,
  roomOf,
  spanBytes
} from './placement-sizes.ts'
import { MIB, testModel } from './placement-testing.ts'

const SEED = 20_260_106
const bytes = fc.integer({ min: 0, max: 4 * MIB })
const model: fc.Arbitrary<HostableModel> = fc.integer({ min: 1, max: 8 }).chain((blockCount) => {
  const perBlock = (most: number): fc.Arbitrary<number[]> =>
    fc.array(fc.integer({ min: 1, max: most }), { minLength: blockCount, maxLength: blockCount })
  const parts = {
    ...{ blockBytes: perBlock(4 * MIB), positionBytes: perBlock(64 * 1024), positions: fc.nat(32) },
    ...{ embeddingBytes: bytes, headBytes: bytes, computeBytes: bytes }
  }
  return fc.record(parts).map((sizes) => testModel('any', blockCount, sizes))
})
const memoryBytes = fc.integer({ min: 0, max: 24 * MIB })

function weights(model: HostableModel, start: number, end: number): number {
  return spanBytes({ ...model, positions: 0, computeBytes: 0 }, { start, end })
}

describe('what fits', () => {
  test('is the longest span that takes no more than the caps, to one KiB', () => {
    const caps = fc.record({ memoryBytes, diskBytes: fc.option(memoryBytes, { nil: undefined }) })
    const property = fc.property(model, caps, (model, { memoryBytes, diskBytes }) => {
      const fits = (start: number, end: number, spare: number): boolean => {
        const isWhole = end - start === model.blockCount
        const onDisk = isWhole || weights(model, start, end) <= (diskBytes ?? Infinity) - spare * 1024
        return spanBytes(model, { start, end }) <= memoryBytes - spare && onDisk
      }
      for (let start = 0; start < model.blockCount; start++) {
        const span = largestSpanFrom(model, start, { memoryBytes, diskBytes })
        if (span !== undefined) expect(fits(start, span.end, 0)).toBe(true)
        for (let end = (span?.end ?? start) + 1; end <= model.blockCount; end++) {
          expect(fits(start, end, 1024)).toBe(false)
        }
      }
    })
    fc.assert(property, { numRuns: 500, seed: SEED })
  })

  test('counts weights, cache, buffers, and what the first and the last block bring along', () => {
    const model = testModel('m', 3, {
      ...{ blockBytes: [10, 20, 30], positionBytes: [1, 2, 3], positions: 100 },
      ...{ embeddingBytes: 1_000, headBytes: 2_000, computeBytes: 5 }
    })
    expect(spanBytes(model, { start: 1, end: 2 })).toBe(20 + 200 + 5)
    expect(spanBytes(model, { start: 0, end: 2 })).toBe(30 + 300 + 5 + 1_000)
    expect(spanBytes(model, { start: 0, end: 3 })).toBe(60 + 600 + 5 + 3_000)
  })

  test('on a full disk is the whole model or nothing', () => {
    const full: Caps = { memoryBytes: 8 * MIB, diskBytes: 0 }
    expect(largestSpanFrom(testModel('m', 8), 0, full)).toEqual({ start: 0, end: 8 })
    expect(largestSpanFrom(testModel('m', 9), 0, full)).toBeUndefined()
    expect(largestSpanFrom(testModel('m', 8), 1, full)).toBeUndefined()
  })
})

describe('an offer', () => {
  test('tells others what its node computes', () => {
    const property = fc.property(model, memoryBytes, (model, memoryBytes) => {
      const room = roomOf(model, { memoryBytes, diskBytes: memoryBytes / 2 })
      const heard = decodeOffer(encodeOffer(new Map([[model.model, room]]))).get(model.model)
      expect(heard).toEqual(room)
      expect(reach(model, heard as typeof room)).toEqual(reach(model, room))
    })
    fc.assert(property, { seed: SEED })
  })

  test('fits into an extension, however much is offered', () => {
    const room = { memoryBytes: 1e15, diskBytes: Number.POSITIVE_INFINITY, positions: 16 }
    const offer = new Map(Array.from({ length: 99 }, (_, index) => [`${index}`.padStart(64, '0'), room]))
    const bytes = encodeOffer(offer)
    expect(bytes.length).toBeLessThanOrEqual(1_024)
    expect(decodeOffer(bytes).get('0'.repeat(64))).toEqual({ ...room, memoryBytes: (2 ** 32 - 1) * 1024 })
  })

  test('that is none offers nothing', () => {
    const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(decodeOffer(bytes).size).toBeLessThanOrEqual(bytes.length / 44)
      if (bytes.length % 44 !== 0) expect(decodeOffer(bytes).size).toBe(0)
    })
    fc.assert(property, { seed: SEED })
    expect(decodeOffer(undefined).size).toBe(0)
  })
})
