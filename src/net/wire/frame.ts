import type { Frame } from './types.ts'

const HEADER_BYTES = 20

/** Bytes that a frame takes on a data stream. */
export function encodedLength(frame: Frame): number {
  return HEADER_BYTES + frame.tokens.byteLength + frame.payload.byteLength
}
