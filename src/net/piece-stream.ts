// Messages and chunks of pieces on a raw stream.
import { Uint8ArrayList } from 'uint8arraylist'
import { type RawStream, rejected } from './raw-stream.ts'
import type { Listener, PieceStream } from './types.ts'
import { WireError } from './wire/errors.ts'
import { MAX_CHUNK_BYTES } from './wire/limits.ts'
import { encodeChunk, encodePieceMessage, PieceDecoder } from './wire/piece-frame.ts'
import type { PieceChunk, PieceMessage } from './wire/types.ts'

const SENT = Promise.resolve()

export class RawPieceStream implements PieceStream {
  readonly #raw: RawStream

  constructor(raw: RawStream) {
    this.#raw = raw
  }

  get peer(): string {
    return this.#raw.peer
  }

  get closed(): Promise<Error | undefined> {
    return this.#raw.closed
  }

  get bytesSent(): number {
    return this.#raw.bytesSent
  }

  get bytesReceived(): number {
    return this.#raw.bytesReceived
  }

  start(listener: Listener<PieceMessage | PieceChunk>): void {
    const decoder = new PieceDecoder()
    this.#raw.start({
      bytes: (chunk) => {
        for (const part of chunk instanceof Uint8Array ? [chunk] : chunk) {
          for (const message of decoder.decode(part)) {
            listener.receive(message)
            if (this.#raw.hasEnded) return
          }
        }
      },
      end: (error) => {
        const isCut = error === undefined && !decoder.isBetweenFrames
        listener.end(isCut ? new WireError('MALFORMED', 'the stream ended within a message') : error)
      }
    })
  }

  send(message: PieceMessage): boolean {
    const bytes = encodePieceMessage(message)
    if (this.#raw.hasEnded) return false
    try {
      this.#raw.write(bytes)
      return true
    } catch {
      return false
    }
  }

  sendChunks(chunks: readonly PieceChunk[]): Promise<void> {
    const byteLength = chunks.reduce((sum, { bytes }) => sum + bytes.byteLength, 0)
    if (byteLength > MAX_CHUNK_BYTES) {
      return rejected(new WireError('TOO_LARGE', `chunks of ${byteLength} bytes`, 'chunk'))
    }
    try {
      const bytes = new Uint8ArrayList(...chunks.map(encodeChunk))
      return this.#raw.write(bytes) ? SENT : this.#raw.drained()
    } catch (error) {
      return rejected(error)
    }
  }

  close(): Promise<void> {
    return this.#raw.close()
  }

  abort(error: Error): void {
    this.#raw.abort(error)
  }
}
