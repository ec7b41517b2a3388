// Control messages on a raw stream.
import type { RawStream } from './raw-stream.ts'
import type { ControlStream, Listener } from './types.ts'
import { WireError } from './wire/errors.ts'
import { MessageDecoder, withLength } from './wire/length-prefix.ts'
import { decodeControl, encodeControl } from './wire/messages.ts'
import type { ControlMessage } from './wire/types.ts'

export class RawControlStream implements ControlStream {
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

  start(listener: Listener<ControlMessage>): void {
    const decoder = new MessageDecoder()
    this.#raw.start({
      bytes: (chunk) => {
        for (const message of decoder.decode(chunk)) {
          listener.receive(decodeControl(message))
          if (this.#raw.hasEnded) return
        }
      },
      end: (error) => {
        const isCut = error === undefined && decoder.isWithinMessage
        listener.end(isCut ? new WireError('MALFORMED', 'the stream ended within a message') : error)
      }
    })
  }

  send(message: ControlMessage): boolean {
    const bytes = withLength(encodeControl(message))
    if (this.#raw.hasEnded) return false
    try {
      this.#raw.write(bytes)
      return true
    } catch {
      return false
    }
  }

  close(): Promise<void> {
    return this.#raw.close()
  }

  abort(error: Error): void {
    this.#raw.abort(error)
  }
}
