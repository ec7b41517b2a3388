/**
 * Answers in channels, as gpt-oss writes them: messages `<|channel|>NAME<|message|>TEXT<|end|>`, those for tools with
 * ` to=functions.NAME` in front of or behind the channel. https://cookbook.openai.com/articles/openai-harmony
 */
import type { Piece, Scanner } from './scanner.ts'
import { begun } from './stops.ts'

const HEADS = ['<|start|>', '<|channel|>', '<|message|>', 'to=']
const MESSAGE = '<|message|>'
const ENDS = ['<|end|>', '<|return|>', '<|call|>', '<|start|>']
const MAX_HEAD = 512

export class ChannelScanner implements Scanner {
  readonly #names: readonly string[]
  #buffer = ''
  /** Undefined: between messages. */
  #type: 'reasoning' | 'text' | 'arguments' | undefined
  /** It does not write in channels. */
  #isPlain = false

  constructor(names: readonly string[]) {
    this.#names = names
  }

  push(text: string, isEnd: boolean): Piece[] {
    this.#buffer += text
    const pieces: Piece[] = []
    while (
      this.#buffer !== '' &&
      (this.#type === undefined ? this.#head(pieces, isEnd) : this.#body(pieces, isEnd))
    );
    return pieces
  }

  #head(pieces: Piece[], isEnd: boolean): boolean {
    if (this.#isPlain) {
      pieces.push({ type: 'text', text: this.#buffer })
      this.#buffer = ''
      return false
    }
    const begin = this.#buffer.trimStart()
    const isHead = HEADS.some((head) => begin.startsWith(head))
    if (!isHead && !HEADS.some((head) => head.startsWith(begin))) this.#isPlain = true
    const at = this.#buffer.indexOf(MESSAGE)
    if (!isHead || at < 0 || at > MAX_HEAD) {
      if (this.#buffer.length > MAX_HEAD + MESSAGE.length) this.#isPlain = true
      // Half a head is nothing to show.
      if (isEnd && !this.#isPlain) this.#buffer = ''
      return this.#isPlain
    }
    this.#open(this.#buffer.slice(0, at), pieces)
    this.#buffer = this.#buffer.slice(at + MESSAGE.length)
    return true
  }

  #open(head: string, pieces: Piece[]): void {
    const [, name = ''] = /to=functions\.([^\s<]+)/.exec(head) ?? []
    if (this.#names.includes(name)) {
      pieces.push({ type: 'call', name })
      this.#type = 'arguments'
    } else this.#type = /<\|channel\|>\s*analysis/.test(head) ? 'reasoning' : 'text'
  }

  #body(pieces: Piece[], isEnd: boolean): boolean {
    const type = this.#type ?? 'text'
    const found = ENDS.map((end) => ({ end, at: this.#buffer.indexOf(end) })).filter(({ at }) => at >= 0)
    const [first] = found.sort((a, b) => a.at - b.at)
    const partial = Math.min(...ENDS.map((end) => begun(this.#buffer, end) ?? Infinity))
    const length = first?.at ?? (isEnd ? this.#buffer.length : Math.min(partial, this.#buffer.length))
    if (length > 0) pieces.push({ type, text: this.#buffer.slice(0, length) })
    if (first === undefined) {
      this.#buffer = this.#buffer.slice(length)
      return false
    }
    this.#type = undefined
    this.#buffer = this.#buffer.slice(length + (first.end === '<|start|>' ? 0 : first.end.length))
    return true
  }
}
