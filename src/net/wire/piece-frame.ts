// What a piece stream carries, each after its length as u32, little-endian: a message, or some bytes of a piece, which
// are not protobuf, since they are most of what goes over the wire.
import { Uint8ArrayList } from 'uint8arraylist'
import { WireError } from './errors.ts'
import { withLength } from './length-prefix.ts'
import { MAX_CHUNK_BYTES, MAX_PIECES } from './limits.ts'
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

/** Without the length. Throws {@link WireError}. */
export function decodePieceFrame(frame: Uint8Array): PieceMessage | PieceChunk {
  if (frame[0] === MESSAGE) return pieceMessages.decode(frame.subarray(1))
  if (frame[0] !== CHUNK) throw new WireError('MALFORMED', `a frame of kind ${frame[0]} on a piece stream`)
  const length = frame.byteLength - CHUNK_HEADER_BYTES
  if (length < 1 || length > MAX_CHUNK_BYTES)
    throw new WireError('INVALID', `a chunk of ${length} bytes`, 'chunk')
  const view = new DataView(frame.buffer, frame.byteOffset, CHUNK_HEADER_BYTES)
  const index = view.getUint32(1, true)
  if (index >= MAX_PIECES) throw new WireError('INVALID', `a chunk of piece ${index}`, 'index')
  return {
    ...{ type: 'chunk', index, offset: view.getUint32(5, true) },
    bytes: frame.subarray(CHUNK_HEADER_BYTES)
  }
}
