/** Which tokens a grammar allows after which: tokens are bytes, and a character may be spread over several. */
import { parseGbnf } from './gbnf.ts'
import { Matcher, type State } from './matcher.ts'

/** The texts of a vocabulary's tokens, one after the other. */
export interface TokenTable {
  readonly bytes: Uint8Array
  /** Where each token's bytes begin, and where the last one's end. */
  readonly offsets: Int32Array
  /** Tokens that end an answer. */
  readonly ends: ReadonlySet<number>
}

/** Where a text stands. */
export interface Cursor {
  /** Undefined: no trigger has come. */
  readonly state: State | undefined
  /** The end of the text so far, byte for byte, as far as a trigger may have begun there. */
  readonly tail: string
  readonly partial: Partial
}

/** What has come of a character, and how many bytes are missing. */
interface Partial {
  readonly value: number
  readonly missing: number
  /** Below it the character has no need of as many bytes: that is not UTF-8. */
  readonly least: number
}

const WHOLE: Partial = { value: 0, missing: 0, least: 0 }
const LEAST = [0, 0x80, 0x800, 0x10000]
const MAX_CODE_POINT = 0x10ffff
/** Of states in which a grammar's texts are mostly, such as within a string. */
const MAX_MASKS = 8

export class Constraint {
  readonly #matcher: Matcher
  readonly #table: TokenTable
  /** Byte for byte. Empty: the grammar counts from the beginning. */
  readonly #triggers: readonly string[]
  readonly #longestTrigger: number
  readonly #masks = new Map<State, Uint8Array>()
  /** What #match left of a character at the end. */
  #partial = WHOLE

  /** Until one of the `triggers` has come, everything is allowed; the grammar's text begins with it. */
  constructor(table: TokenTable, grammar: string, triggers: readonly string[]) {
    this.#table = table
    this.#matcher = new Matcher(parseGbnf(grammar))
    this.#triggers = triggers.map((trigger) => String.fromCharCode(...new TextEncoder().encode(trigger)))
    this.#longestTrigger = Math.max(0, ...this.#triggers.map(({ length }) => length))
  }

  get start(): Cursor {
    const isLazy = this.#triggers.length > 0
    return { state: isLazy ? undefined : this.#matcher.start, tail: '', partial: WHOLE }
  }

  /** To be called before each draw: grammars that take too much time for one are an EngineError INPUT. */
  beginDraw(): void {
    this.#matcher.beginDraw()
  }

  /** Undefined: the token is not allowed. */
  next(cursor: Cursor, token: number): Cursor | undefined {
    this.#matcher.allowToken()
    const isWaiting = cursor.state === undefined
    const tail = isWaiting ? cursor.tail + this.#textOf(token) : ''
    const state = this.#stateAfter(cursor, token)
    if (state === null) return undefined
    if (state !== undefined) return { state, tail: '', partial: this.#partial }
    return { state, tail: tail.slice(Math.max(0, tail.length - this.#longestTrigger + 1)), partial: WHOLE }
  }

  /** For each token 1 where it is allowed, else 0. */
  mask(cursor: Cursor): Uint8Array {
    const { state, partial } = cursor
    const isKept = state !== undefined && partial.missing === 0
    const known = isKept ? this.#masks.get(state) : undefined
    if (known !== undefined) return known
    const mask = new Uint8Array(this.#table.offsets.length - 1)
    for (let token = 0; token < mask.length; token++) {
      mask[token] = this.#stateAfter(cursor, token) === null ? 0 : 1
    }
    if (isKept) {
      if (this.#masks.size === MAX_MASKS) this.#masks.delete(this.#masks.keys().next().value as State)
      this.#masks.set(state, mask)
    }
    return mask
  }

  /** Null: not allowed. Undefined: still waiting for a trigger. */
  #stateAfter({ state, tail, partial }: Cursor, token: number): State | undefined | null {
    const { bytes, offsets, ends } = this.#table
    const isEnd = ends.has(token)
    this.#partial = WHOLE
    if (state !== undefined) {
      if (isEnd) return state.isDone && partial.missing === 0 ? state : null
      const [start, end] = [offsets[token] as number, offsets[token + 1] as number]
      return start === end ? null : this.#match(state, partial, bytes, start, end)
    }
    if (isEnd) return undefined
    const text = tail + this.#textOf(token)
    const starts = this.#triggers.map((trigger) => text.indexOf(trigger)).filter((index) => index >= 0)
    if (starts.length === 0) return undefined
    const begun = Uint8Array.from(text.slice(Math.min(...starts)), (char) => char.charCodeAt(0))
    return this.#match(this.#matcher.start, WHOLE, begun, 0, begun.length)
  }

  #textOf(token: number): string {
    const { bytes, offsets } = this.#table
    return String.fromCharCode(...bytes.subarray(offsets[token], offsets[token + 1]))
  }

  #match(from: State, partial: Partial, bytes: Uint8Array, start: number, end: number): State | null {
    let state = from
    let { value, missing, least } = partial
    for (let index = start; index < end; index++) {
      const byte = bytes[index] as number
      if (missing > 0) {
        if (byte >> 6 !== 0b10) return null
        value = (value << 6) | (byte & 0x3f)
        missing -= 1
      } else {
        missing = missingAfter(byte)
        if (missing < 0) return null
        least = LEAST[missing] as number
        value = missing === 0 ? byte : byte & (0x3f >> missing)
      }
      if (missing > 0) continue
      const next = isCharacter(value, value, least) ? this.#matcher.step(state, value) : undefined
      if (next === undefined) return null
      state = next
    }
    if (missing === 0) return state
    const low = value << (6 * missing)
    const high = low | ((1 << (6 * missing)) - 1)
    if (!isCharacter(low, high, least) || !this.#matcher.canStep(state, Math.max(low, least), high))
      return null
    this.#partial = { value, missing, least }
    return state
  }
}

/** Whether one from `low` to `high` is a character of as many bytes. */
function isCharacter(low: number, high: number, least: number): boolean {
  return high >= least && low <= MAX_CODE_POINT && !(low >= 0xd800 && high <= 0xdfff)
}

/** Bytes of UTF-8 that follow a first one; -1: it is none. */
function missingAfter(byte: number): number {
  if (byte < 0x80) return 0
  if (byte < 0xc2) return -1
  if (byte < 0xe0) return 1
  if (byte < 0xf0) return 2
  return byte < 0xf5 ? 3 : -1
}
