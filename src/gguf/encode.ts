// Values of a header as bytes: the reverse of cursor.ts.
import { encodeText } from './text.ts'
import type { MetadataValue, Scalar, ScalarType } from './types.ts'
import { ARRAY_TYPE_ID, FIXED_TYPES, scalarTypeId } from './value-types.ts'

/** Bytes that grow. A vocabulary is some hundred thousand small writes, so that one buffer doubles for all. */
export class HeaderBytes {
  #bytes = new Uint8Array(4096)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** What was written, as a copy of its own. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length)
  }

  u32(value: number): void {
    this.scalar('u32', value)
  }

  u64(value: number | bigint): void {
    this.scalar('u64', BigInt(value))
  }

  text(value: string): void {
    this.scalar('string', value)
  }

  /** Throws a RangeError when the value isn't one of the type. */
  scalar(type: ScalarType, value: Scalar): void {
    if (type === 'string') {
      if (typeof value !== 'string') throw new RangeError(`${String(value)} is no string`)
      const bytes = encodeText(value)
      this.u64(bytes.byteLength)
      // Grow first: it may replace the buffer.
      const start = this.#grow(bytes.byteLength)
      this.#bytes.set(bytes, start)
      return
    }
    const { size, set } = FIXED_TYPES[type]
    const offset = this.#grow(size)
    set(this.#view, offset, value)
  }

  /** A value with its type before it, as it follows a key. Throws a RangeError as `scalar` does. */
  value(entry: MetadataValue): void {
    if (entry.type !== 'array') {
      this.u32(scalarTypeId(entry.type))
      this.scalar(entry.type, entry.value)
      return
    }
    this.u32(ARRAY_TYPE_ID)
    this.u32(scalarTypeId(entry.itemType))
    this.u64(entry.value.length)
    for (const item of entry.value) this.scalar(entry.itemType, item)
  }

  /** Appends this many zero bytes. */
  zeros(count: number): void {
    this.#grow(count)
  }

  /** Makes room for so many bytes, counts them as written, and returns where they begin. */
  #grow(count: number): number {
    const start = this.#length
    this.#length += count
    if (this.#length > this.#bytes.byteLength) {
      const bytes = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.byteLength))
      bytes.set(this.#bytes)
      this.#bytes = bytes
      this.#view = new DataView(bytes.buffer)
    }
    return start
  }
}
