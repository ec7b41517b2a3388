// Reads a header's values from the first bytes of a file, with every length checked before it is believed.
import { GgufError } from './errors.ts'
import { decodeText } from './text.ts'
import type { Scalar, ScalarType } from './types.ts'
import { FIXED_TYPES } from './value-types.ts'

/** Headers are up to 30 MB today (vocabularies of 260,000 tokens); one that claims more is an attack or a mistake. */
const MAX_HEADER_BYTES = 256 * 1024 * 1024

/** An item costs up to 16 bytes in memory, where a file may spend one on it: 16 million items are 256 MB. */
const MAX_ARRAY_ITEMS = 16 * 1024 * 1024

/** Thrown when the file goes on, but the window read so far does not: read at least `length` bytes, start again. */
export class WindowTooShort extends Error {
  readonly length: number

  constructor(length: number) {
    super(`at least ${length} bytes are needed`)
    this.length = length
  }
}

export class Cursor {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  /** Length of the whole file, bytes. */
  readonly #size: number
  #position = 0

  constructor(window: Uint8Array, size: number) {
    this.#bytes = window
    this.#view = new DataView(window.buffer, window.byteOffset, window.byteLength)
    this.#size = size
  }

  get position(): number {
    return this.#position
  }

  /** Bytes of the file after this position. */
  get remaining(): number {
    return this.#size - this.#position
  }

  u32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true)
  }

  i32(what: string): number {
    return this.#view.getInt32(this.#take(4, what), true)
  }

  /** An unsigned 64-bit integer that may be anything. */
  u64(what: string): bigint {
    return this.#view.getBigUint64(this.#take(8, what), true)
  }

  /** A count of things that are at least `itemBytes` long each: refused when the file could not hold them. */
  count(what: string, itemBytes: number): number {
    const start = this.#position
    const count = this.u64(what)
    if (count * BigInt(itemBytes) > BigInt(this.remaining)) {
      throw new GgufError(
        'TRUNCATED',
        start,
        `${what} at byte ${start} is ${count}, but the ${this.remaining} bytes left in the file can't hold so many`
      )
    }
    return Number(count)
  }

  text(what: string): string {
    const start = this.#position
    const length = this.count(`the length of ${what}`, 1)
    if (start + length > MAX_HEADER_BYTES) throw headerTooLong(start, what)
    const from = this.#take(length, what)
    return decodeText(this.#bytes.subarray(from, from + length))
  }

  scalar(type: ScalarType, what: string): Scalar {
    if (type === 'string') return this.text(what)
    const { size, get } = FIXED_TYPES[type]
    return get(this.#view, this.#take(size, what))
  }

  array(itemType: ScalarType, what: string): Scalar[] {
    const start = this.#position
    // A string is at least its length.
    const itemBytes = itemType === 'string' ? 8 : FIXED_TYPES[itemType].size
    const count = this.count(`the number of items of ${what}`, itemBytes)
    if (count > MAX_ARRAY_ITEMS) {
      throw new GgufError(
        'METADATA',
        start,
        `${what} at byte ${start} has ${count} items, more than ${MAX_ARRAY_ITEMS}`
      )
    }
    this.#need(count * itemBytes, what)
    const items: Scalar[] = []
    for (let index = 0; index < count; index++) items.push(this.scalar(itemType, what))
    return items
  }

  /** Moves on and returns where it was, once all `length` bytes are known to be in the window. */
  #take(length: number, what: string): number {
    this.#need(length, what)
    const start = this.#position
    this.#position += length
    return start
  }

  #need(length: number, what: string): void {
    const end = this.#position + length
    if (end > this.#size) {
      throw new GgufError('TRUNCATED', this.#position, `the file ends in ${what}, at byte ${this.#position}`)
    }
    if (end > MAX_HEADER_BYTES) throw headerTooLong(this.#position, what)
    if (end > this.#bytes.byteLength) throw new WindowTooShort(end)
  }
}

function headerTooLong(offset: number, what: string): GgufError {
  return new GgufError(
    'FORMAT',
    offset,
    `${what} at byte ${offset} makes the header longer than ${MAX_HEADER_BYTES} bytes`
  )
}
