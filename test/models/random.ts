/** Random weights in ggml's formats, made directly: a quantized tensor is random bits under sensible scales. */
import { TENSOR_TYPES, tensorByteLength } from '../../src/gguf/tensor-types.ts'

/** Uniform in [0, 1). Small, fast and the same everywhere; nothing here needs to be unpredictable. */
export type Random = () => number

/** mulberry32 by Tommy Ettinger, seeded by a hash of the text (FNV-1a). */
export function randomOf(seed: string): Random {
  let state = 0x811c9dc5
  for (let index = 0; index < seed.length; index += 1) {
    state = Math.imul(state ^ seed.charCodeAt(index), 0x01000193)
  }
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Normally distributed around 0 (Box and Muller). */
export function gaussian(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

/** A tensor whose weights have this standard deviation and mean 0. Throws a RangeError for other types. */
export function randomTensor(
  type: string,
  dims: readonly number[],
  deviation: number,
  random: Random
): Uint8Array {
  const bytes = new Uint8Array(tensorByteLength(type, dims))
  const fill = FILLERS[type]
  const layout = TENSOR_TYPES[type]
  if (fill === undefined || layout === undefined) throw new RangeError(`no random weights of type ${type}`)
  const view = new DataView(bytes.buffer)
  for (let offset = 0; offset < bytes.length; offset += layout.typeSize) fill(view, offset, deviation, random)
  return bytes
}

/** Writes one block at an offset. */
type Filler = (view: DataView, offset: number, deviation: number, random: Random) => void

/**
 * The divisors are the standard deviations of a block's weights at scale 1, of uniformly random bits:
 * - Q4_0: q - 8 for q in 0..15; Q8_0: q in -128..127.
 * - Q4_K: s*q - 7.5*m with s, m in 0..63, q in 0..15 (the minimum's scale centres them); Q6_K: s*(q - 32) with
 *   s in -32..31, q in 0..63.
 * - MXFP4: values 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; its scale is a power of two.
 */
const FILLERS: Readonly<Record<string, Filler>> = {
  F32: (view, offset, deviation, random) => view.setFloat32(offset, gaussian(random) * deviation, true),
  F16: (view, offset, deviation, random) => view.setFloat16(offset, gaussian(random) * deviation, true),
  Q4_0: (view, offset, deviation, random) => {
    view.setFloat16(offset, varied(deviation / 4.64, random), true)
    fillBits(view, offset + 2, 16, random)
  },
  Q8_0: (view, offset, deviation, random) => {
    view.setFloat16(offset, varied(deviation / 73.9, random), true)
    fillBits(view, offset + 2, 32, random)
  },
  Q4_K: (view, offset, deviation, random) => {
    const scale = varied(deviation / 258, random)
    view.setFloat16(offset, scale, true)
    view.setFloat16(offset + 2, scale * 7.5, true)
    fillBits(view, offset + 4, 12 + 128, random)
  },
  Q6_K: (view, offset, deviation, random) => {
    fillBits(view, offset, 128 + 64, random)
    for (let index = 192; index < 208; index += 1)
      view.setInt8(offset + index, Math.floor(random() * 64) - 32)
    view.setFloat16(offset + 208, varied(deviation / 341, random), true)
  },
  MXFP4: (view, offset, deviation, random) => {
    view.setUint8(offset, 127 + Math.round(Math.log2(deviation / 2.93)))
    fillBits(view, offset + 1, 16, random)
  }
}

/** Scales that are all equal would hide a mix-up of blocks. */
function varied(scale: number, random: Random): number {
  return scale * (0.75 + random() / 2)
}

function fillBits(view: DataView, offset: number, length: number, random: Random): void {
  for (let index = 0; index < length; index += 4) view.setUint32(offset + index, random() * 2 ** 32, true)
}
