/**
 * How rows of hidden states are written in frames. Each row for itself, so that what a row becomes depends neither on
 * its neighbours nor on how a session was cut into frames. Plain loops over typed arrays: they run in browsers, and
 * allocate nothing but views. Float16Array was measured: as fast at best, and it tells nobody of an overflow.
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
/** Of f16: the least normal number as f32, what is taken off its exponent, and the first f32 that would be infinity. */
const F16_NORMAL = 0x38800000
const F16_BIAS = 0x38000000
const F16_OVERFLOW = 0x477ff000
/** Of f16's subnormal numbers. */
const F16_STEP = 2 ** -24
/** The first f32 that bf16 would round to infinity. */
const BF16_OVERFLOW = 0x7f7f8000
const INFINITY_BITS = 0x7f800000

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

export function isRowCodec(codec: string): codec is RowCodec {
  return (ROW_CODECS as readonly string[]).includes(codec)
}

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
      return toF16(bitsOf(rows), halvesOf(target))
    case 'bf16':
      return toBf16(bitsOf(rows), halvesOf(target))
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
      fromF16(halvesOf(bytes), target)
      return
    case 'bf16':
      fromBf16(halvesOf(bytes), bitsOf(target))
      return
    case 'q8':
      fromQ8(bytes, width, target)
  }
}

function bitsOf(rows: Float32Array): Uint32Array {
  return new Uint32Array(rows.buffer, rows.byteOffset, rows.length)
}

function halvesOf(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
}

/** To the nearest, ties to even (F. Giesen's float_to_half_fast3_rtne). */
function toF16(source: Uint32Array, target: Uint16Array): boolean {
  let largest = 0
  for (let at = 0; at < source.length; at++) {
    const value = source[at] as number
    const size = value & 0x7fffffff
    if (size > largest) largest = size
    target[at] = ((value >>> 16) & 0x8000) | halfOf(size)
  }
  return largest < F16_OVERFLOW
}

/** The f16 nearest to a positive f32, both as bits; what overflows is none. */
function halfOf(size: number): number {
  if (size >= F16_NORMAL) return (size - F16_BIAS + 0xfff + ((size >>> 13) & 1)) >>> 13
  bits[0] = size
  float[0] = (float[0] as number) + 0.5 // its lowest bits are f16's subnormal numbers, rounded
  return (bits[0] as number) - 0x3f000000
}

function fromF16(source: Uint16Array, target: Float32Array): void {
  const out = bitsOf(target)
  for (let at = 0; at < source.length; at++) {
    const value = source[at] as number
    const size = value & 0x7fff
    const sign = (value & 0x8000) << 16
    if (size < 0x400) target[at] = (sign === 0 ? size : -size) * F16_STEP
    else out[at] = sign | (size < 0x7c00 ? (size << 13) + F16_BIAS : (size << 13) | INFINITY_BITS)
  }
}

/** To the nearest, ties to even. */
function toBf16(source: Uint32Array, target: Uint16Array): boolean {
  let largest = 0
  for (let at = 0; at < source.length; at++) {
    const value = source[at] as number
    const size = value & 0x7fffffff
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
        const size = (bitsIn[at] as number) & 0x7fffffff
        if (size > largest) largest = size
      }
      const scale = scaleFor(largest)
      if (scale >= 0x7c00) isGood = false
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

/** The least f16 of which 127 steps reach so far, both as bits; 0x7c00 or more where there is none. */
function scaleFor(largest: number): number {
  bits[0] = largest
  const size = float[0] as number
  if (!(size < Number.POSITIVE_INFINITY)) return 0x7c00
  float[0] = size / MOST_STEPS
  if ((bits[0] as number) >= F16_OVERFLOW) return 0x7c00
  const scale = halfOf(bits[0] as number)
  return floatOf(scale) * MOST_STEPS < size ? scale + 1 : scale
}

/** Of an f16 as bits. */
function floatOf(half: number): number {
  const size = half & 0x7fff
  if (size < 0x400) return (half === size ? size : -size) * F16_STEP
  bits[0] = ((half & 0x8000) << 16) | (size < 0x7c00 ? (size << 13) + F16_BIAS : (size << 13) | INFINITY_BITS)
  return float[0] as number
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
