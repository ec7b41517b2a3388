import { EngineError } from '../errors.ts'
import type { Llama, Pointer } from './library.ts'

/** Text to token ids and back, by llama.cpp's own tokenizers. */
export class Vocabulary {
  readonly pointer: Pointer
  readonly size: number
  readonly beginToken: number
  readonly endToken: number
  readonly #llama: Llama

  constructor(llama: Llama, pointer: Pointer) {
    this.#llama = llama
    this.pointer = pointer
    this.size = llama.llama_vocab_n_tokens(pointer)
    this.beginToken = llama.llama_vocab_bos(pointer)
    this.endToken = llama.llama_vocab_eos(pointer)
  }

  tokenize(text: string, addSpecial: boolean, parseSpecial: boolean): Int32Array {
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

  piece(token: number, special: boolean): { bytes: Uint8Array; end: boolean } {
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
