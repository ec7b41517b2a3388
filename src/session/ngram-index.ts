/** Where the last few ids of a conversation stood before, and what came next. */

/** Lengths of what is looked up. The longest match tells most; what is longer still is found by looking back. */
const LENGTHS = [12, 8, 6, 4, 3, 2, 1]
/** Longer matches are not told apart. */
const MOST_MATCHED = 32
/** Slots of 5 bytes, of which the one used longest ago is not kept: 9,000 ids' worth, whatever the conversation has. */
const SLOTS = 1 << 16
/** A continuation that was seen again is kept where another one comes, so many times. */
const MOST_CONFIDENCE = 3

export interface Match {
  /** Of the id that came next. */
  readonly position: number
  /** Ids before it that are the same. */
  readonly length: number
  /** How often the same came next, 0 to 3. */
  readonly confidence: number
}

export class NgramIndex {
  /** Of the id that came next, plus 1; 0: nothing. */
  readonly #positions = new Int32Array(SLOTS)
  readonly #confidences = new Uint8Array(SLOTS)

  /** `ids[position]` came after the ids before it. */
  add(ids: readonly number[], position: number): void {
    for (const length of LENGTHS) {
      if (length > position) continue
      const slot = slotOf(ids, position, length)
      const before = (this.#positions[slot] as number) - 1
      const isKnown = before >= 0 && matched(ids, before, position, length) === length
      if (isKnown && ids[before] !== ids[position] && (this.#confidences[slot] as number) > 0) {
        this.#confidences[slot]! -= 1
        continue
      }
      const isSame = isKnown && ids[before] === ids[position]
      this.#positions[slot] = position + 1
      this.#confidences[slot] = isSame ? Math.min(MOST_CONFIDENCE, this.#confidences[slot]! + 1) : 0
    }
  }

  /** What stood before the end of `ids` before, the longest that is known. */
  find(ids: readonly number[]): Match | undefined {
    const end = ids.length
    for (const length of LENGTHS) {
      if (length > end) continue
      const slot = slotOf(ids, end, length)
      const position = (this.#positions[slot] as number) - 1
      if (position < 0 || position >= end || matched(ids, position, end, length) < length) continue
      const confidence = this.#confidences[slot] as number
      return { position, length: matched(ids, position, end, MOST_MATCHED), confidence }
    }
    return undefined
  }

  clear(): void {
    this.#positions.fill(0)
    this.#confidences.fill(0)
  }
}

/** FNV-1a over the ids before `end`, and their number. */
function slotOf(ids: readonly number[], end: number, length: number): number {
  let hash = 0x811c9dc5 ^ length
  for (let index = end - length; index < end; index++)
    hash = Math.imul(hash ^ (ids[index] as number), 0x01000193)
  hash ^= hash >>> 15
  return (Math.imul(hash, 0x2c1b3c6d) >>> 12) & (SLOTS - 1)
}

/** Equal ids before two positions, `most` at most. */
function matched(ids: readonly number[], first: number, second: number, most: number): number {
  let length = 0
  while (length < most && length < first && ids[first - 1 - length] === ids[second - 1 - length]) length++
  return length
}
