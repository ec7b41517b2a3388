// Frames on a data stream: a fixed header, one token id per row, then the rows. All little-endian, which every
// machine that Shoal runs on is, so ids and numbers are used in place.
import { Uint8ArrayList } from 'uint8arraylist'
import { bytesPerRow, isRowLength, ROW_CODECS } from './codec.ts'
import { WireError } from './errors.ts'
import { MAX_FRAME_BYTES, MAX_INT32, MAX_ROWS, MAX_UINT32, MAX_WIDTH } from './limits.ts'
import type { Frame, FrameCodec, FrameLimits, SampleMode } from './types.ts'

/**
 * u32 length of what follows it, u8 version, u8 codec, u8 sample mode, u8 zero, u32 epoch, u32 position, u32 epoch of the
 * row before.
 */
const HEADER_BYTES = 20
const LENGTH_BYTES = 4
const BYTES_PER_ID = 4
const VERSION = 2
/** By their number on the wire. */
const CODECS: readonly FrameCodec[] = ['none', ...ROW_CODECS]
const SAMPLE_MODES: readonly SampleMode[] = ['none', 'last', 'all']

/** Bytes that a frame takes on a data stream, before encryption. */
export function encodedLength(frame: Pick<Frame, 'tokens' | 'payload'>): number {
  return HEADER_BYTES + frame.tokens.byteLength + frame.payload.byteLength
}

function isWithin(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high
}

/** Throws {@link WireError}. */
export function checkFrame(frame: Frame): void {
  const rows = frame.tokens.length
  const fail = (field: string, message: string): never => {
    throw new WireError('INVALID', `a frame's ${field} ${message}`, field)
  }
  if (!isWithin(rows, 1, MAX_ROWS)) fail('tokens', `must be 1 to ${MAX_ROWS}, not ${rows}`)
  if (!isWithin(frame.epoch, 0, MAX_UINT32)) fail('epoch', 'must be an unsigned 32-bit number')
  if (!isWithin(frame.follows, 0, frame.epoch)) fail('follows', 'must be an epoch that is not later')
  if (!isWithin(frame.position, 0, MAX_INT32 - rows)) fail('position', 'must be below 2^31')
  const { codec, payload } = frame
  const rowBytes = payload.byteLength / rows
  if (!Number.isInteger(rowBytes) || !isRowLength(codec, rowBytes))
    fail('payload', `must be ${rows} rows of ${codec}`)
  if (encodedLength(frame) > MAX_FRAME_BYTES) {
    throw new WireError('TOO_LARGE', `a frame of ${encodedLength(frame)} bytes: at most ${MAX_FRAME_BYTES}`)
  }
}

/**
 * A frame that was not decoded, as the decoder would have given it out. Copies nothing but payloads whose numbers are not
 * aligned. Throws {@link WireError}.
 */
export function checkReceived(frame: Frame, { width, maxRows }: FrameLimits): Frame {
  const rows = frame.tokens.length
  if (rows > maxRows) throw new WireError('TOO_LARGE', `a frame of ${rows} rows: at most ${maxRows}`, 'rows')
  const { byteLength, byteOffset } = frame.payload
  if (byteLength !== rows * bytesPerRow(frame.codec, width)) {
    throw new WireError('MALFORMED', `${rows} rows of ${width} numbers in ${byteLength} bytes`, 'length')
  }
  return byteOffset % BYTES_PER_ID === 0 ? frame : { ...frame, payload: new Uint8Array(frame.payload) }
}

/**
 * The frame's bytes. The payload is not copied: it must not be overwritten until it was sent.
 * Throws {@link WireError}.
 */
export function encodeFrame(frame: Frame): Uint8ArrayList {
  checkFrame(frame)
  const { tokens, payload } = frame
  const head = new Uint8Array(HEADER_BYTES + tokens.byteLength)
  const view = new DataView(head.buffer)
  view.setUint32(0, encodedLength(frame) - LENGTH_BYTES, true)
  head[4] = VERSION
  head[5] = CODECS.indexOf(frame.codec)
  head[6] = SAMPLE_MODES.indexOf(frame.sample)
  view.setUint32(8, frame.epoch, true)
  view.setUint32(12, frame.position, true)
  view.setUint32(16, frame.follows, true)
  head.set(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength), HEADER_BYTES)
  return payload.byteLength === 0 ? new Uint8ArrayList(head) : new Uint8ArrayList(head, payload)
}

interface PendingFrame {
  epoch: number
  follows: number
  position: number
  rows: number
  sample: SampleMode
  codec: FrameCodec
  /** Token ids, then payload; its own allocation, so both are aligned. */
  body: Uint8Array<ArrayBuffer>
}

/**
 * Bytes in, frames out, however the bytes are cut. Copies each frame's body once, into memory whose size was
 * checked against the limits before.
 *
 * @example
 * ```ts
 * decoder.push(chunk)
 * for (let frame = decoder.next(); frame; frame = decoder.next()) use(frame)
 * ```
 */
export class FrameDecoder {
  readonly #limits: FrameLimits
  readonly #header = new Uint8Array(HEADER_BYTES)
  readonly #headerView = new DataView(this.#header.buffer)
  readonly #chunks: Uint8Array[] = []
  #filled = 0
  #partial: PendingFrame | undefined

  constructor(limits: FrameLimits) {
    if (!isWithin(limits.width, 1, MAX_WIDTH) || !isWithin(limits.maxRows, 1, MAX_ROWS)) {
      throw new WireError('INVALID', `frames of ${limits.maxRows} rows of ${limits.width} numbers`, 'limits')
    }
    this.#limits = limits
  }

  /** Nothing is left of a frame that began: the stream may end here. */
  get isBetweenFrames(): boolean {
    return this.#chunks.length === 0 && this.#filled === 0 && this.#partial === undefined
  }

  push(chunk: Uint8Array): void {
    if (chunk.byteLength > 0) this.#chunks.push(chunk)
  }

  /** The next whole frame, if there is one. Throws {@link WireError}; the decoder is of no use after that. */
  next(): Frame | undefined {
    if (this.#partial === undefined) {
      if (!this.#fill(this.#header)) return undefined
      this.#partial = this.#readHeader()
    }
    if (!this.#fill(this.#partial.body)) return undefined
    const { body, rows, ...fields } = this.#partial
    this.#partial = undefined
    const tokens = new Int32Array(body.buffer, 0, rows)
    for (const token of tokens) {
      if (token < 0) throw new WireError('INVALID', `token id ${token} in a frame`, 'tokens')
    }
    return { ...fields, tokens, payload: body.subarray(rows * BYTES_PER_ID) }
  }

  /** Copy waiting bytes into the target; true, and ready for the next target, when it is full. */
  #fill(target: Uint8Array): boolean {
    while (this.#filled < target.byteLength) {
      const chunk = this.#chunks.shift()
      if (chunk === undefined) return false
      const count = Math.min(chunk.byteLength, target.byteLength - this.#filled)
      target.set(count === chunk.byteLength ? chunk : chunk.subarray(0, count), this.#filled)
      this.#filled += count
      if (count < chunk.byteLength) this.#chunks.unshift(chunk.subarray(count))
    }
    this.#filled = 0
    return true
  }

  #readHeader(): PendingFrame {
    const header = this.#header
    const view = this.#headerView
    if (header[4] !== VERSION) {
      throw new WireError('VERSION', `a frame of version ${header[4]}: this node speaks ${VERSION}`)
    }
    const codec = CODECS[header[5]!]
    const sample = SAMPLE_MODES[header[6]!]
    if (codec === undefined) throw new WireError('INVALID', `frame codec ${header[5]}`, 'codec')
    if (sample === undefined) throw new WireError('INVALID', `sample mode ${header[6]}`, 'sample')
    const { maxRows, width } = this.#limits
    const rowBytes = BYTES_PER_ID + bytesPerRow(codec, width)
    const length = view.getUint32(0, true)
    const size = length - (HEADER_BYTES - LENGTH_BYTES)
    const rows = size / rowBytes
    if (!(rows >= 1 && Number.isInteger(rows))) {
      throw new WireError('MALFORMED', `a frame of ${length} bytes: a row takes ${rowBytes}`, 'length')
    }
    if (rows > maxRows)
      throw new WireError('TOO_LARGE', `a frame of ${rows} rows: at most ${maxRows}`, 'length')
    if (HEADER_BYTES + size > MAX_FRAME_BYTES) throw new WireError('TOO_LARGE', `a frame of ${size} bytes`)
    const epoch = view.getUint32(8, true)
    const position = view.getUint32(12, true)
    const follows = view.getUint32(16, true)
    if (position > MAX_INT32 - rows) throw new WireError('INVALID', `position ${position}`, 'position')
    if (follows > epoch) throw new WireError('INVALID', `epoch ${epoch} after ${follows}`, 'follows')
    return { epoch, follows, position, rows, sample, codec, body: new Uint8Array(size) }
  }
}
