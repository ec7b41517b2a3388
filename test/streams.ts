/** Streams in memory, with the test at their other end. */
import type {
  Accepted,
  ControlMessage,
  ControlStream,
  DataReceiver,
  DataSender,
  Frame,
  Listener
} from '../src/net/index.ts'

export class FakeControl implements ControlStream {
  readonly peer = 'peer'
  /** What was sent to the test. */
  readonly sent: ControlMessage[] = []
  readonly #ended = Promise.withResolvers<Error | undefined>()
  readonly closed = this.#ended.promise
  #listener: Listener<ControlMessage> | undefined

  start(listener: Listener<ControlMessage>): void {
    this.#listener = listener
  }

  /** The other side says something. */
  say(message: ControlMessage): void {
    this.#listener?.receive(message)
  }

  /** The other side ends the stream. */
  end(error?: Error): void {
    this.#ended.resolve(error)
    const listener = this.#listener
    this.#listener = undefined
    listener?.end(error)
  }

  send(message: ControlMessage): boolean {
    this.sent.push(message)
    return true
  }

  async close(): Promise<void> {
    this.end()
  }

  abort(error: Error): void {
    this.end(error)
  }
}

/** Takes so many frames as it has `room`, and the next one only at `drain`. */
export class FakeData implements DataSender {
  readonly peer = 'peer'
  accepted: Accepted = { epoch: 0, length: 0, maxRows: 512 }
  readonly bytesSent = 0
  readonly frames: Frame[] = []
  readonly #ended = Promise.withResolvers<Error | undefined>()
  readonly closed = this.#ended.promise
  room = Number.POSITIVE_INFINITY
  readonly #drained = Promise.withResolvers<void>()

  send(frame: Frame): Promise<void> {
    this.frames.push(frame)
    return this.frames.length < this.room ? Promise.resolve() : this.#drained.promise
  }

  drain(): void {
    this.room = Number.POSITIVE_INFINITY
    this.#drained.resolve()
  }

  async close(): Promise<void> {
    this.#ended.resolve(undefined)
  }

  abort(error: Error): void {
    this.#ended.resolve(error)
  }
}

/** Frames that wait while it is paused. */
export class FakeReceiver implements DataReceiver {
  readonly peer = 'peer'
  readonly bytesReceived = 0
  readonly #ended = Promise.withResolvers<Error | undefined>()
  readonly closed = this.#ended.promise
  readonly waiting: Frame[] = []
  isPaused = false
  hasEnded = false
  #listener: Listener<Frame> | undefined

  start(_limits: unknown, listener: Listener<Frame>): void {
    this.#listener = listener
    this.#deliver()
  }

  /** The other side sends a frame. */
  push(frame: Frame): void {
    this.waiting.push(frame)
    this.#deliver()
  }

  #deliver(): void {
    while (this.#listener !== undefined && !this.isPaused && !this.hasEnded) {
      const frame = this.waiting.shift()
      if (frame === undefined) return
      this.#listener.receive(frame)
    }
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    this.#deliver()
  }

  abort(error: Error): void {
    this.hasEnded = true
    this.#ended.resolve(error)
  }
}
