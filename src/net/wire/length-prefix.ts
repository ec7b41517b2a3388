// Messages on a stream, each after its length as an unsigned little-endian 32-bit number.
import { LengthPrefixedDecoder } from '@libp2p/utils'
import { Uint8ArrayList } from 'uint8arraylist'
import { WireError } from './errors.ts'
import { MAX_MESSAGE_BYTES } from './limits.ts'

const LENGTH_BYTES = 4

export function withLength(message: Uint8Array): Uint8ArrayList {
  const length = new Uint8Array(LENGTH_BYTES)
  new DataView(length.buffer).setUint32(0, message.byteLength, true)
  return new Uint8ArrayList(length, message)
}

function readLength(bytes: Uint8ArrayList): number {
  if (bytes.byteLength < LENGTH_BYTES) throw new RangeError('not there yet') // the decoder waits for more
  return bytes.getUint32(0, true)
}

/** Bytes in, messages out, however the bytes are cut. */
export class MessageDecoder {
  readonly #maxBytes: number
  readonly #decoder: LengthPrefixedDecoder
  #unread = 0

  constructor(maxBytes = MAX_MESSAGE_BYTES) {
    this.#maxBytes = maxBytes
    this.#decoder = new LengthPrefixedDecoder({
      lengthDecoder: readLength,
      encodingLength: () => LENGTH_BYTES,
      maxDataLength: maxBytes,
      // One chunk may hold many messages; the stream's own buffer bounds it.
      maxBufferSize: Number.POSITIVE_INFINITY
    })
  }

  /** A message has begun and is not whole. */
  get isWithinMessage(): boolean {
    return this.#unread > 0
  }

  /** Throws {@link WireError}. */
  *decode(chunk: Uint8Array | Uint8ArrayList): Generator<Uint8Array> {
    this.#unread += chunk.byteLength
    try {
      for (const message of this.#decoder.decode(chunk)) {
        this.#unread -= LENGTH_BYTES + message.byteLength
        yield message.subarray()
      }
    } catch (cause) {
      if ((cause as Error).name !== 'InvalidMessageLengthError') throw cause
      throw new WireError('TOO_LARGE', `a message above ${this.#maxBytes} bytes`, 'length', { cause })
    }
  }
}
