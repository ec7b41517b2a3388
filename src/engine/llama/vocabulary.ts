import { EngineError } from '../errors.ts'
import type { TokenTable } from '../grammar/constraint.ts'
import type { Llama, Pointer } from './library.ts'

/** `LLAMA_VOCAB_TYPE_NONE` of llama.h. */
const NO_VOCABULARY = 0

/** Text to token ids and back, by llama.cpp's own tokenizers. */
export class Vocabulary {
  readonly pointer: Pointer
  readonly size: number
  readonly beginToken: number
  readonly endToken: number
  readonly #llama: Llama
  #table: TokenTable | undefined

  constructor(llama: Llama, pointer: Pointer) {
    this.#llama = llama
    this.pointer = pointer
    this.size = llama.llama_vocab_n_tokens(pointer)
    this.beginToken = llama.llama_vocab_bos(pointer)
    this.endToken = llama.llama_vocab_eos(pointer)
  }

  /** All ids that end an answer. */
  endTokens(): number[] {
    const ids = Array.from({ length: this.size }, (_, id) => id)
    return ids.filter((id) => this.#llama.llama_vocab_is_eog(this.pointer, id) as boolean)
  }

  /** llama.cpp aborts the process when asked for what a span without vocabulary does not have. */
  #requireTokens(): void {
    if (this.#llama.llama_vocab_type(this.pointer) === NO_VOCABULARY) {
      throw new EngineError('INPUT', 'This span has no vocabulary: it knows no text.')
    }
  }

  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Int32Array {
    this.#requireTokens()
    const bytes = new TextEncoder().encode(text)
    const call = (out: Int32Array): number =>
      this.#llama.llama_tokenize(this.pointer, bytes, bytes.length, out, out.length, addSpecial, parseSpecial)
    const guess = new Int32Array(bytes.length + 2) // a byte never makes more than one token; two for begin and end
    const count = call(guess)
    if (count >= 0) return guess.slice(0, count)
    const exact = new Int32Array(-count)
    const again = call(exact)
    if (again < 0) throw new EngineError('INPUT', 'The text is too long to tokenize.')
    return exact.slice(0, again)
  }

  /** All tokens' texts, as grammars see them. Read when they are needed first: half a second for a large vocabulary. */
  get table(): TokenTable {
    this.#table ??= this.#readTable()
    return this.#table
  }

  #readTable(): TokenTable {
    const pieces = Array.from({ length: this.size }, (_, token) => this.piece(token, true))
    const offsets = new Int32Array(this.size + 1)
    for (const [token, { bytes }] of pieces.entries())
      offsets[token + 1] = (offsets[token] as number) + bytes.length
    const bytes = new Uint8Array(offsets[this.size] as number)
    for (const [token, piece] of pieces.entries()) bytes.set(piece.bytes, offsets[token])
    const ends = new Set([...pieces.keys()].filter((token) => pieces[token]?.end))
    return { bytes, offsets, ends }
  }

  piece(token: number, special: boolean): { bytes: Uint8Array; end: boolean } {
    this.#requireTokens()
    let buffer = new Uint8Array(64)
    let length = this.#llama.llama_token_to_piece(
      this.pointer,
      token,
      buffer,
      buffer.length,
      0,
      special
    ) as number
    if (length < 0) {
      buffer = new Uint8Array(-length)
      length = this.#llama.llama_token_to_piece(this.pointer, token, buffer, buffer.length, 0, special)
    }
    return {
      bytes: buffer.slice(0, Math.max(0, length)),
      end: this.#llama.llama_vocab_is_eog(this.pointer, token)
    }
  }
}
