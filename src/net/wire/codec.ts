/**
 * How rows of hidden states are written in frames. Each row for itself, so that what a row becomes depends neither on
 * its neighbours nor on how a session was cut into frames. Plain loops over typed arrays: they run in browsers, and
 * allocate nothing but views. (Bit tricks in place of Float16Array were measured: a fifth faster to write, slower to read.)
 *
 * All-ones exponents (infinities, NaN) are never written; who reads them gets them, and its engine refuses them.
 */
import type { FrameCodec, RowCodec, StageInfo } from './types.ts'

/** All that this version speaks. */
export const ROW_CODECS: readonly RowCodec[] = ['f32', 'f16', 'bf16', 'q8']

/** Numbers of a row that share a scale in q8; the last block of a row has what is left. As in llama.cpp's Q8_0. */
const BLOCK = 32
const SCALE_BYTES = 2
const MOST_STEPS = 127
/** As bits: the first f32 that rounds to infinity in f16 and in bf16, and f16's infinity. */
const F16_OVERFLOW = 0x477ff000
const BF16_OVERFLOW = 0x7f7f8000
const F16_INFINITY = 0x7c00
const SIZE = 0x7fffffff

/** For single numbers. */
const half = new Float16Array(1)
const halfBits = new Uint16Array(half.buffer)
const float = new Float32Array(1)
const floatBits = new Uint32Array(float.buffer)

/** Whether a stage takes rows in this codec, and gives them in it; one that doesn't say knows only its profile's. */
export function speaks({ codecs, profile }: Pick<StageInfo, 'codecs' | 'profile'>, codec: string): boolean {
  return (codecs ?? [profile.codec]).includes(codec)
}

/** Bytes of one row of `width` numbers. */
export function bytesPerRow(codec: FrameCodec, width: number): number {
  switch (codec) {
    case 'none':
      return 0
    case 'f32':
      return 4 * width
    case 'f16':
    case 'bf16':
      return 2 * width
    case 'q8':
      return width + SCALE_BYTES * Math.ceil(width / BLOCK)
  }
}

/** Whether some width has rows of so many bytes. */
export function isRowLength(codec: FrameCodec, bytes: number): boolean {
  if (codec === 'none') return bytes === 0
  const last = bytes % bytesPerRow(codec, codec === 'q8' ? BLOCK : 1)
  return bytes > 0 && (last === 0 || (codec === 'q8' && last > SCALE_BYTES))
}

/**
 * Writes whole rows of `width` numbers. False where a number is none that the codec can hold: not finite, from 65,520 on
 * in f16, from about 8.3 million on in q8; what was written then is of no use. In f32 all numbers pass as they are.
 *
 * Errors, for what is true: f16 keeps 11 bits (a number below 2^-14 is off by 2^-25 at most), bf16 8 bits, q8 is off by
 * half a step, which is a block's largest number ÷ 127, rounded up to an f16.
 *
 * @param target bytesPerRow × rows, its start aligned to 2 bytes
 */
export function encodeRows(codec: RowCodec, rows: Float32Array, width: number, target: Uint8Array): boolean {
  switch (codec) {
    case 'f32':
      target.set(new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength))
      return true
    case 'f16':
      return toF16(rows, new Float16Array(target.buffer, target.byteOffset, rows.length))
    case 'bf16':
      return toBf16(bitsOf(rows), new Uint16Array(target.buffer, target.byteOffset, rows.length))
    case 'q8':
      return toQ8(rows, width, target)
  }
}

/** The reverse. `target` has rows × width numbers; `bytes` begins aligned to 2 bytes. */
export function decodeRows(codec: RowCodec, bytes: Uint8Array, width: number, target: Float32Array): void {
  switch (codec) {
    case 'f32':
      new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes)
      return
    case 'f16':
      fromF16(new Float16Array(bytes.buffer, bytes.byteOffset, target.length), target)
      return
    case 'bf16':
      fromBf16(new Uint16Array(bytes.buffer, bytes.byteOffset, target.length), bitsOf(target))
      return
    case 'q8':
      fromQ8(bytes, width, target)
  }
}

function bitsOf(rows: Float32Array): Uint32Array {
  return new Uint32Array(rows.buffer, rows.byteOffset, rows.length)
}

function toF16(source: Float32Array, target: Float16Array): boolean {
  const bits = bitsOf(source)
  let largest = 0
  for (let at = 0; at < source.length; at++) {
    const size = (bits[at] as number) & SIZE
    if (size > largest) largest = size
    target[at] = source[at] as number
  }
  return largest < F16_OVERFLOW
}

/** In a loop: `set` is slower. */
function fromF16(source: Float16Array, target: Float32Array): void {
  for (let at = 0; at < source.length; at++) target[at] = source[at] as number
}

/** To the nearest, ties to even. */
function toBf16(source: Uint32Array, target: Uint16Array): boolean {
  let largest = 0
  for (let at = 0; at < source.length; at++) {
    const value = source[at] as number
    const size = value & SIZE
    if (size > largest) largest = size
    target[at] = (value + 0x7fff + ((value >>> 16) & 1)) >>> 16
  }
  return largest < BF16_OVERFLOW
}

function fromBf16(source: Uint16Array, target: Uint32Array): void {
  for (let at = 0; at < source.length; at++) target[at] = (source[at] as number) << 16
}

function toQ8(source: Float32Array, width: number, target: Uint8Array): boolean {
  const bitsIn = bitsOf(source)
  let isGood = true
  let out = 0
  for (let row = 0; row < source.length; row += width) {
    const end = row + width
    for (let start = row; start < end; start += BLOCK) {
      const last = Math.min(start + BLOCK, end)
      let largest = 0 // as bits, among which NaN is the largest
      for (let at = start; at < last; at++) {
        const size = (bitsIn[at] as number) & SIZE
        if (size > largest) largest = size
      }
      const scale = scaleFor(largest)
      if (scale >= F16_INFINITY) isGood = false
      const inverse = scale === 0 ? 0 : 1 / floatOf(scale)
      target[out] = scale
      target[out + 1] = scale >>> 8
      out += SCALE_BYTES
      // Above 0, cutting is rounding to the nearest, and faster than Math.round.
      for (let at = start; at < last; at++) {
        target[out++] = (((source[at] as number) * inverse + 128.5) | 0) - 128
      }
    }
  }
  return isGood
}

/** The least f16 of which 127 steps reach so far, both as bits; infinity's where there is none. */
function scaleFor(largest: number): number {
  floatBits[0] = largest
  const size = float[0] as number
  half[0] = size / MOST_STEPS
  const isShort = (half[0] as number) * MOST_STEPS < size
  return (halfBits[0] as number) + (isShort ? 1 : 0)
}

function floatOf(bits: number): number {
  halfBits[0] = bits
  return half[0] as number
}

function fromQ8(source: Uint8Array, width: number, target: Float32Array): void {
  const steps = new Int8Array(source.buffer, source.byteOffset, source.byteLength)
  let next = 0
  for (let row = 0; row < target.length; row += width) {
    const end = row + width
    for (let start = row; start < end; start += BLOCK) {
      const last = Math.min(start + BLOCK, end)
      const scale = floatOf((source[next] as number) | ((source[next + 1] as number) << 8))
      next += SCALE_BYTES
      for (let at = start; at < last; at++) target[at] = (steps[next++] as number) * scale
    }
  }
}
