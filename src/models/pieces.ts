/** How a model's content is cut: each item into pieces of one size, its last one shorter. None crosses an item. */
import { createHash } from 'node:crypto'
import type { ContentItem } from './content.ts'

/** SHA-256. */
export const HASH_BYTES = 32
/** More than any manifest of MAX_MANIFEST_BYTES has hashes for. */
const MAX_PIECES = 2 ** 20

export interface Piece {
  readonly index: number
  readonly item: ContentItem
  /** From the item's start, in bytes. */
  readonly offset: number
  readonly byteLength: number
}

export class PieceTable {
  readonly pieceBytes: number
  readonly count: number
  readonly #items: readonly ContentItem[]
  /** Of each item. */
  readonly #first: Uint32Array
  readonly #hashes: Uint8Array | undefined

  /** Throws where there are too many, or not as many hashes as pieces. */
  constructor(items: readonly ContentItem[], pieceBytes: number, hashes?: Uint8Array) {
    this.pieceBytes = pieceBytes
    this.#items = items
    this.#first = new Uint32Array(items.length)
    let count = 0
    for (const [index, item] of items.entries()) {
      this.#first[index] = count
      count += this.countOf(item)
      if (count > MAX_PIECES) throw new Error('it has too many pieces')
    }
    this.count = count
    if (hashes !== undefined && hashes.byteLength !== count * HASH_BYTES) {
      throw new Error(`it has ${hashes.byteLength / HASH_BYTES} hashes of ${count} pieces`)
    }
    this.#hashes = hashes
  }

  at(index: number): Piece {
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      throw new RangeError(`piece ${index} of ${this.count}`)
    }
    // The last item that begins at or before it, and is not empty.
    let low = 0
    let high = this.#items.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#first[middle] as number) <= index) low = middle
      else high = middle - 1
    }
    const item = this.#items[low] as ContentItem
    const offset = (index - (this.#first[low] as number)) * this.pieceBytes
    return { index, item, offset, byteLength: Math.min(this.pieceBytes, item.byteLength - offset) }
  }

  countOf({ byteLength }: ContentItem): number {
    return Math.ceil(byteLength / this.pieceBytes)
  }

  /** All pieces of some items, in order. */
  of(items: Iterable<ContentItem>): number[] {
    const wanted = new Set(items)
    const indices: number[] = []
    for (const [at, item] of this.#items.entries()) {
      if (!wanted.has(item)) continue
      const first = this.#first[at] as number
      for (let index = first; index < first + this.countOf(item); index++) indices.push(index)
    }
    return indices
  }

  /** Whether these are the bytes of the piece. */
  isIntact(index: number, bytes: Uint8Array): boolean {
    if (this.#hashes === undefined || bytes.byteLength !== this.at(index).byteLength) return false
    const hash = this.#hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)
    return Buffer.compare(createHash('sha256').update(bytes).digest(), hash) === 0
  }
}
