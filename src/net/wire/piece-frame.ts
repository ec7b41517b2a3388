// What a piece stream carries, each after its length as u32, little-endian: a message, or some bytes of a piece, which
// are not protobuf, since they are most of what goes over the wire.
import { Uint8ArrayList } from 'uint8arraylist'
import { WireError } from './errors.ts'
import { withLength } from './length-prefix.ts'
import { MAX_CHUNK_BYTES, MAX_PIECE_MESSAGE_BYTES, MAX_PIECES } from './limits.ts'
import { pieceMessages } from './messages.ts'
import type { PieceChunk, PieceMessage } from './types.ts'

const MESSAGE = 0
const CHUNK = 1
/** u8 kind, u32 index, u32 offset. */
const CHUNK_HEADER_BYTES = 9
const LENGTH_BYTES = 4

/** Throws {@link WireError}. */
export function encodePieceMessage(message: PieceMessage): Uint8ArrayList {
  const bytes = pieceMessages.encode(message)
  const whole = new Uint8Array(1 + bytes.byteLength)
  whole[0] = MESSAGE
  whole.set(bytes, 1)
  return withLength(whole)
}

/** The bytes are not copied. */
export function encodeChunk({ index, offset, bytes }: PieceChunk): Uint8ArrayList {
  const head = new Uint8Array(LENGTH_BYTES + CHUNK_HEADER_BYTES)
  const view = new DataView(head.buffer)
  view.setUint32(0, CHUNK_HEADER_BYTES + bytes.byteLength, true)
  view.setUint8(4, CHUNK)
  view.setUint32(5, index, true)
  view.setUint32(9, offset, true)
  return new Uint8ArrayList(head, bytes)
}

/**
 * Bytes in, messages and chunks out, however the bytes are cut. A chunk is handed out as it comes, in several if need
 * be: nothing waits for the rest of it, and its bytes are not copied.
 */
export class PieceDecoder {
  readonly #head = new Uint8Array(LENGTH_BYTES + CHUNK_HEADER_BYTES)
  readonly #view = new DataView(this.#head.buffer)
  #filled = 0
  #message: Uint8Array | undefined
  #chunk: { index: number; offset: number; left: number } | undefined

  /** Nothing is left of what began: the stream may end here. */
  get isBetweenFrames(): boolean {
    return this.#filled === 0
  }

  /** Throws {@link WireError}; the decoder is of no use after that. */
  *decode(bytes: Uint8Array): Generator<PieceMessage | PieceChunk> {
    for (let at = 0; at < bytes.byteLength; ) {
      if (this.#chunk !== undefined) {
        const { index, offset, left } = this.#chunk
        const part = bytes.subarray(at, at + left)
        at += part.byteLength
        this.#chunk = { index, offset: offset + part.byteLength, left: left - part.byteLength }
        if (this.#chunk.left === 0) this.#restart()
        yield { type: 'chunk', index, offset, bytes: part }
      } else if (this.#message !== undefined) {
        at += this.#fill(this.#message, bytes.subarray(at))
        if (this.#filled < this.#message.byteLength) return
        const message = this.#message
        this.#restart()
        yield pieceMessages.decode(message)
      } else {
        at += this.#fill(this.#head.subarray(0, this.#headBytes), bytes.subarray(at))
        this.#begin()
      }
    }
  }

  get #headBytes(): number {
    const isChunk = this.#filled > LENGTH_BYTES && this.#head[LENGTH_BYTES] === CHUNK
    return LENGTH_BYTES + (isChunk ? CHUNK_HEADER_BYTES : 1)
  }

  #fill(target: Uint8Array, bytes: Uint8Array): number {
    const part = bytes.subarray(0, target.byteLength - this.#filled)
    target.set(part, this.#filled)
    this.#filled += part.byteLength
    return part.byteLength
  }

  /** When the header is there. */
  #begin(): void {
    if (this.#filled <= LENGTH_BYTES || this.#filled < this.#headBytes) return
    const length = this.#view.getUint32(0, true)
    const kind = this.#head[LENGTH_BYTES]
    if (kind === MESSAGE) {
      if (length < 1 || length > 1 + MAX_PIECE_MESSAGE_BYTES) {
        throw new WireError('TOO_LARGE', `a message of ${length} bytes`, 'length')
      }
      this.#filled = 0
      this.#message = new Uint8Array(length - 1)
      return
    }
    if (kind !== CHUNK) throw new WireError('MALFORMED', `a frame of kind ${kind} on a piece stream`)
    const left = length - CHUNK_HEADER_BYTES
    if (left < 1 || left > MAX_CHUNK_BYTES)
      throw new WireError('TOO_LARGE', `a chunk of ${left} bytes`, 'length')
    const index = this.#view.getUint32(5, true)
    if (index >= MAX_PIECES) throw new WireError('INVALID', `a chunk of piece ${index}`, 'index')
    this.#chunk = { index, offset: this.#view.getUint32(9, true), left }
  }

  #restart(): void {
    this.#filled = 0
    this.#message = undefined
    this.#chunk = undefined
  }
}
