import { WireError } from '../../net/index.ts'

/** Which pieces of a model somebody has: one bit each, piece 0 in the highest of the first byte. */
export class Bitfield {
  readonly #bytes: Uint8Array
  readonly #length: number

  /** Throws a WireError where it is not one of so many pieces. */
  constructor(bytes: Uint8Array, length: number) {
    if (bytes.byteLength !== Math.ceil(length / 8)) {
      throw new WireError(
        'INVALID',
        `${bytes.byteLength} bytes say which of ${length} pieces there are`,
        'pieces'
      )
    }
    const spare = bytes.byteLength * 8 - length
    if (spare > 0 && ((bytes.at(-1) as number) & (2 ** spare - 1)) !== 0) {
      throw new WireError('INVALID', `it has pieces beyond the last of ${length}`, 'pieces')
    }
    this.#bytes = bytes
    this.#length = length
  }

  has(index: number): boolean {
    return (
      index >= 0 &&
      index < this.#length &&
      ((this.#bytes[index >> 3] as number) & (0x80 >> (index & 7))) !== 0
    )
  }

  /** False: it was there already. Throws a WireError for a piece that the model does not have. */
  add(index: number): boolean {
    if (index >= this.#length) throw new WireError('INVALID', `piece ${index} of ${this.#length}`, 'indices')
    if (this.has(index)) return false
    this.#bytes[index >> 3] = (this.#bytes[index >> 3] as number) | (0x80 >> (index & 7))
    return true
  }
}
