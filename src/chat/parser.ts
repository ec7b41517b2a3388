/** An answer's text into its parts, as it comes. */
import { ChannelScanner } from './channels.ts'
import { type Piece, type Scanner, TagScanner } from './scanner.ts'
import { StopStrings } from './stops.ts'
import type { AnswerSyntax } from './syntax.ts'

export type Part =
  | { readonly type: 'reasoning'; readonly text: string }
  | { readonly type: 'text'; readonly text: string }
  /** Calls are numbered from 0. */
  | { readonly type: 'call'; readonly index: number; readonly id: string; readonly name: string }
  /** Of the call before, as JSON text. */
  | { readonly type: 'arguments'; readonly index: number; readonly text: string }

export interface ParserOptions {
  /** Looked for in the text, not in reasoning or calls. */
  readonly stop: readonly string[]
  readonly newId: () => string
}

/** Wherever the text is cut, its parts are the same together, and none has a piece of a tag or of a stop string. */
export class AnswerParser {
  readonly #scanner: Scanner
  readonly #stops: StopStrings
  readonly #newId: () => string
  #calls = 0

  constructor(syntax: AnswerSyntax, { stop, newId }: ParserOptions) {
    this.#scanner =
      syntax.channels === undefined ? new TagScanner(syntax) : new ChannelScanner(syntax.channels.names)
    this.#stops = new StopStrings(stop)
    this.#newId = newId
  }

  /** The stop string after which nothing more comes. */
  get stopped(): string | undefined {
    return this.#stops.found
  }

  get calls(): number {
    return this.#calls
  }

  /** Takes whole characters; gives what is certain. */
  push(text: string): Part[] {
    return this.#parts(text, false)
  }

  end(): Part[] {
    return this.#parts('', true)
  }

  #parts(text: string, isEnd: boolean): Part[] {
    const parts: Part[] = []
    if (this.stopped !== undefined) return parts
    for (const piece of this.#scanner.push(text, isEnd)) {
      const shown = this.#stops.push(piece.type === 'text' ? piece.text : '', piece.type !== 'text')
      if (shown !== '') parts.push({ type: 'text', text: shown })
      if (this.stopped !== undefined) return parts
      if (piece.type !== 'text') parts.push(this.#part(piece))
    }
    const rest = isEnd ? this.#stops.push('', true) : ''
    if (rest !== '') parts.push({ type: 'text', text: rest })
    return parts
  }

  #part(piece: Piece): Part {
    if (piece.type === 'call')
      return { type: 'call', index: this.#calls++, id: this.#newId(), name: piece.name }
    if (piece.type === 'arguments') return { type: 'arguments', index: this.#calls - 1, text: piece.text }
    return { type: piece.type, text: piece.text }
  }
}
