import type { ByteSource } from './types.ts'

/** Bytes in memory as a source; reads are views, not copies. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.byteLength,
    async read(offset, length, signal) {
      signal?.throwIfAborted()
      if (
        !Number.isSafeInteger(offset + length) ||
        offset < 0 ||
        length < 0 ||
        offset + length > bytes.byteLength
      ) {
        throw new RangeError(`bytes ${offset} to ${offset + length} are not in [0, ${bytes.byteLength})`)
      }
      return bytes.subarray(offset, offset + length)
    },
    async close() {}
  }
}
