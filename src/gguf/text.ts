// Strings of GGUF files. The format says UTF-8, but some tokenizers hold other bytes, and a rewritten file must
// have the same ones: a string that is not valid UTF-8 keeps its ASCII, and every other byte b becomes the lone
// surrogate U+DC00+b (the trick of Python's "surrogateescape"), which no valid UTF-8 decodes to.

// Without ignoreBOM a string that starts with U+FEFF would lose it.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

const ESCAPE = 0xdc00

export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    let text = ''
    for (const byte of bytes) text += String.fromCharCode(byte < 0x80 ? byte : ESCAPE + byte)
    return text
  }
}

/** The reverse. Throws a RangeError for lone surrogates that `decodeText` does not make. */
export function encodeText(text: string): Uint8Array {
  if (text.isWellFormed()) return encoder.encode(text)
  return Uint8Array.from(text, (character) => {
    const unit = character.charCodeAt(0)
    const byte = unit < 0x80 ? unit : unit - ESCAPE
    if (character.length > 1 || byte < 0 || byte > 0xff || (unit >= 0x80 && byte < 0x80)) {
      throw new RangeError('a string has a lone surrogate in it, which UTF-8 has no bytes for')
    }
    return byte
  })
}
