/** Which piece to fetch next. */

/**
 * Pieces that nobody was asked for yet, by how many peers have them: the rarest first, ties in a random order that is
 * each node's own, so that nodes that begin together fetch different ones and then exchange them. In buckets, as in
 * libtorrent's piece_picker, since a model has thousands of pieces and each is moved at every `have`.
 */
export class Picker {
  readonly #random: () => number
  readonly #buckets: number[][] = []
  readonly #holders = new Map<number, number>()
  /** Where in its bucket it lies. */
  readonly #places = new Map<number, number>()

  constructor(random: () => number) {
    this.#random = random
  }

  get size(): number {
    return this.#places.size
  }

  has(index: number): boolean {
    return this.#places.has(index)
  }

  holders(index: number): number {
    return this.#holders.get(index) ?? 0
  }

  /** One peer more has it, or (-1) one less. */
  count(index: number, by: 1 | -1): void {
    const isThere = this.remove(index)
    this.#holders.set(index, this.holders(index) + by)
    if (isThere) this.add(index)
  }

  add(index: number): void {
    if (this.#places.has(index)) return
    const level = this.holders(index)
    while (this.#buckets.length <= level) this.#buckets.push([])
    const bucket = this.#buckets[level] as number[]
    const place = Math.floor(this.#random() * (bucket.length + 1))
    const moved = bucket[place]
    if (moved !== undefined) {
      this.#places.set(moved, bucket.length)
      bucket.push(moved)
    }
    bucket[place] = index
    this.#places.set(index, place)
  }

  remove(index: number): boolean {
    const place = this.#places.get(index)
    if (place === undefined) return false
    const bucket = this.#buckets[this.holders(index)] as number[]
    const last = bucket.pop() as number
    if (last !== index) {
      bucket[place] = last
      this.#places.set(last, place)
    }
    this.#places.delete(index)
    return true
  }

  /** The rarest that may be had; it stays. */
  find(isOffered: (index: number) => boolean): number | undefined {
    for (const bucket of this.#buckets) {
      for (let place = bucket.length - 1; place >= 0; place--) {
        const index = bucket[place] as number
        if (isOffered(index)) return index
      }
    }
    return undefined
  }
}
