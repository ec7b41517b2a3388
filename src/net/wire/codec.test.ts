import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytesPerRow, decodeRows, encodeRows, isRowLength, ROW_CODECS, speaks } from './codec.ts'
import type { RowCodec } from './types.ts'

const SEED = 3
const LOSSY = ['f16', 'bf16', 'q8'] as const
/** Odd ones, too: the last block of a row is then a short one. */
const width = fc.integer({ min: 1, max: 100 })

function encoded(codec: RowCodec, rows: Float32Array, width: number): Uint8Array | undefined {
  const bytes = new Uint8Array((rows.length / width) * bytesPerRow(codec, width))
  return encodeRows(codec, rows, width, bytes) ? bytes : undefined
}

function decoded(codec: RowCodec, bytes: Uint8Array, width: number): Float32Array {
  const target = new Float32Array((bytes.byteLength / bytesPerRow(codec, width)) * width).fill(99)
  decodeRows(codec, bytes, width, target)
  return target
}

function roundTrip(codec: RowCodec, rows: Float32Array, width: number): Float32Array {
  const bytes = encoded(codec, rows, width)
  expect(bytes).toBeDefined()
  return decoded(codec, bytes as Uint8Array, width)
}

/** Rows of numbers as large as `most`, and their width. */
const rowsUpTo = (most: number) =>
  fc.tuple(width, fc.integer({ min: 1, max: 4 })).chain(([width, count]) =>
    fc.record({
      width: fc.constant(width),
      rows: fc.float32Array({
        ...{ minLength: width * count, maxLength: width * count },
        ...{ min: -Math.fround(most), max: Math.fround(most), noNaN: true, noDefaultInfinity: true }
      })
    })
  )
const MOST: Record<RowCodec, number> = { f32: 3.4e38, f16: 65_504, bf16: 3.38e38, q8: 8_319_000 }

describe('rows', () => {
  test.each(ROW_CODECS)('have the bytes that %s says', (codec) => {
    const bits = { f32: 4, f16: 2, bf16: 2, q8: 34 / 32 }[codec]
    expect(bytesPerRow(codec, 4096)).toBe(4096 * bits)
  })

  test('in q8 end with a short block', () => {
    expect([1, 31, 32, 33, 65].map((width) => bytesPerRow('q8', width))).toEqual([3, 33, 34, 37, 71])
  })

  test('have lengths that some width has, and no others', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ROW_CODECS), width, (codec, width) => {
        expect(isRowLength(codec, bytesPerRow(codec, width))).toBe(true)
      }),
      { seed: SEED }
    )
    for (const codec of ROW_CODECS) expect([codec, isRowLength(codec, 0)]).toEqual([codec, false])
    expect([34, 35, 36, 37].map((bytes) => isRowLength('q8', bytes))).toEqual([true, false, false, true])
    expect([isRowLength('none', 0), isRowLength('none', 4), isRowLength('f16', 3)]).toEqual([
      true,
      false,
      false
    ])
  })

  test.each(ROW_CODECS)('in %s do not depend on each other', (codec) => {
    const property = fc.property(rowsUpTo(MOST[codec]), ({ rows, width }) => {
      const all = encoded(codec, rows, width) as Uint8Array
      const length = bytesPerRow(codec, width)
      for (let row = 0; row * width < rows.length; row++) {
        const alone = encoded(codec, rows.slice(row * width, (row + 1) * width), width)
        expect(alone).toEqual(all.slice(row * length, (row + 1) * length))
      }
    })
    fc.assert(property, { seed: SEED })
  })

  test.each(ROW_CODECS)('in %s that were decoded encode to the same numbers', (codec) => {
    const property = fc.property(rowsUpTo(MOST[codec] / 2), ({ rows, width }) => {
      const once = roundTrip(codec, rows, width)
      const twice = roundTrip(codec, once, width)
      // q8 may take another scale for them: at most one of its steps off.
      if (codec === 'q8')
        expect(largestError(twice, once)).toBeLessThanOrEqual(largest(once) / 127 + 2 ** -24)
      else expect(twice).toEqual(once)
    })
    fc.assert(property, { seed: SEED })
  })

  test.each(ROW_CODECS)('in %s are not read or written beyond their bytes', (codec) => {
    const bytes = new Uint8Array(bytesPerRow(codec, 5) + 8).fill(7)
    const floats = new Float32Array(9).fill(7)
    expect(encodeRows(codec, floats.subarray(2, 7), 5, bytes.subarray(4, -4))).toBe(true)
    expect([...bytes.subarray(0, 4), ...bytes.subarray(-4)]).toEqual(Array(8).fill(7))
    decodeRows(codec, bytes.subarray(4, -4), 5, floats.subarray(2, 7))
    expect([floats[0], floats[1], floats[7], floats[8]]).toEqual([7, 7, 7, 7])
  })
})

function largest(values: Float32Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
}

function largestError(values: Float32Array, expected: Float32Array): number {
  return values.reduce((most, value, at) => Math.max(most, Math.abs(value - (expected[at] as number))), 0)
}

describe('numbers', () => {
  test('in f32 stay as they are, whatever they are', () => {
    const rows = Float32Array.of(0, -0, 1.1, Number.NaN, Number.POSITIVE_INFINITY, 1e-45)
    expect(Object.is(roundTrip('f32', rows, 6)[1], -0)).toBe(true)
    expect(roundTrip('f32', rows, 6)).toEqual(rows)
  })

  test('in f16 are those of Float16Array, all of them', () => {
    const all = Uint16Array.from({ length: 65_536 }, (_, index) => index)
    const expected = Float32Array.from(new Float16Array(all.buffer))
    const got = decoded('f16', new Uint8Array(all.buffer), 65_536)
    expect(got.findIndex((value, at) => !Object.is(value, expected[at]))).toBe(-1)
  })

  test('in f16 are rounded as Float16Array rounds', () => {
    const near = fc
      .tuple(fc.nat(0x7bfe), fc.constantFrom(-0.5, -0.25, 0, 0.25, 0.49, 0.5), fc.boolean())
      .map(([half, part, isNegative]) => {
        const [low, high] = new Float16Array(Uint16Array.of(Math.max(half - 1, 0), half).buffer)
        const value = (high as number) + part * ((high as number) - (low as number))
        return Math.fround(isNegative ? -value : value)
      })
    const property = fc.property(fc.array(near, { minLength: 1, maxLength: 20 }), (values) => {
      const rows = Float32Array.from(values)
      expect(roundTrip('f16', rows, rows.length)).toEqual(Float32Array.from(new Float16Array(rows)))
    })
    fc.assert(property, { seed: SEED, numRuns: 2_000 })
  })

  test('in bf16 are off by a 256th at most', () => {
    const property = fc.property(rowsUpTo(MOST.bf16), ({ rows, width }) => {
      const got = roundTrip('bf16', rows, width)
      rows.forEach((value, at) => {
        expect(Math.abs((got[at] as number) - value)).toBeLessThanOrEqual(Math.abs(value) / 256 + 1e-40)
      })
    })
    fc.assert(property, { seed: SEED, numRuns: 500 })
  })

  test('in q8 are off by half a step of their block at most', () => {
    const property = fc.property(rowsUpTo(MOST.q8), ({ rows, width }) => {
      const got = roundTrip('q8', rows, width)
      for (let row = 0; row < rows.length; row += width) {
        for (let start = row; start < row + width; start += 32) {
          const end = Math.min(start + 32, row + width)
          const step = (largest(rows.subarray(start, end)) / 127) * (1 + 2 ** -10) + 2 ** -24
          expect(largestError(got.subarray(start, end), rows.subarray(start, end))).toBeLessThanOrEqual(
            step / 2
          )
        }
      }
    })
    fc.assert(property, { seed: SEED, numRuns: 500 })
  })

  test('in q8 leave the blocks beside an outlier as they are', () => {
    const rows = Float32Array.from({ length: 64 }, (_, at) => (at === 40 ? 60_000 : at % 32) - 16)
    const got = roundTrip('q8', rows, 64)
    expect(largestError(got.subarray(0, 32), rows.subarray(0, 32))).toBeLessThan(0.07)
  })

  test.each([
    ['f16', 65_519.99, true],
    ['f16', 65_520, false],
    ['f16', Number.NEGATIVE_INFINITY, false],
    ['f16', Number.NaN, false],
    ['bf16', 3.38e38, true],
    ['bf16', 3.4e38, false],
    ['bf16', Number.POSITIVE_INFINITY, false],
    ['bf16', Number.NaN, false],
    ['q8', 65_504 * 127, true],
    ['q8', 65_520 * 127, false],
    ['q8', 3.4e38, false],
    ['q8', Number.POSITIVE_INFINITY, false],
    ['q8', Number.NaN, false]
  ] as const)('in %s: %d can be written: %s', (codec, value, isGood) => {
    for (const at of [0, 2, 33]) {
      for (const sign of [1, -1]) {
        const rows = new Float32Array(40).fill(0.5)
        rows[at] = sign * value
        const bytes = encoded(codec, rows, 40)
        expect(bytes !== undefined).toBe(isGood)
        if (bytes !== undefined) expect(decoded(codec, bytes, 40).every(Number.isFinite)).toBe(true)
      }
    }
  })

  test('are never infinite where they could be written', () => {
    const any = fc.float32Array({ minLength: 1, maxLength: 40 })
    const property = fc.property(fc.constantFrom(...LOSSY), any, (codec, rows) => {
      const bytes = encoded(codec, rows, rows.length)
      if (bytes !== undefined) expect(decoded(codec, bytes, rows.length).every(Number.isFinite)).toBe(true)
      else expect(rows.every((value) => Math.abs(value) < 65_519)).toBe(false)
    })
    fc.assert(property, { seed: SEED, numRuns: 2_000 })
  })
})

test('whatever bytes come, they are read without a fault', () => {
  const hostile = fc.tuple(fc.constantFrom(...ROW_CODECS), width).chain(([codec, width]) => {
    const length = 2 * bytesPerRow(codec, width)
    const bytes = fc.uint8Array({ minLength: length, maxLength: length })
    return fc.record({ codec: fc.constant(codec), width: fc.constant(width), bytes })
  })
  const property = fc.property(hostile, ({ codec, width, bytes }) => {
    expect(decoded(codec, bytes.slice(), width)).toHaveLength(2 * width)
  })
  fc.assert(property, { seed: SEED, numRuns: 1_000 })
  // Not numbers, for the engine to refuse.
  expect(decoded('q8', Uint8Array.of(0, 0x7c, 0), 1)).toEqual(Float32Array.of(Number.NaN))
  expect(decoded('f16', Uint8Array.of(0, 0xfc, 1, 0x7e), 2)).toEqual(Float32Array.of(-Infinity, Number.NaN))
  expect(decoded('q8', Uint8Array.of(0, 0xbc, 0x80), 1)).toEqual(Float32Array.of(128)) // a scale of -1
})

test('who does not say what it speaks knows what its profile says', () => {
  const profile = { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
  expect([speaks({ profile }, 'f32'), speaks({ profile }, 'q8')]).toEqual([true, false])
  expect(speaks({ profile, codecs: ['f32', 'q8'] }, 'q8')).toBe(true)
})
