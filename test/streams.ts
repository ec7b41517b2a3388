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
  readonly peer: string
  /** What was sent to the test. */
  readonly sent: ControlMessage[] = []
  readonly #ended = Promise.withResolvers<Error | undefined>()
  readonly closed = this.#ended.promise
  #listener: Listener<ControlMessage> | undefined
  /** The error that it was aborted with, or that the other side's end was. */
  error: Error | undefined

  constructor(peer = 'peer') {
    this.peer = peer
  }

  start(listener: Listener<ControlMessage>): void {
    this.#listener = listener
  }

  /** The other side says something. What comes in one piece is heard to its end, unless the stream is aborted. */
  say(...messages: ControlMessage[]): void {
    const listener = this.#listener
    for (const message of messages) if (this.error === undefined) listener?.receive(message)
  }

  /** The other side ends the stream. */
  end(error?: Error): void {
    this.error ??= error
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
  accepted: Accepted
  readonly bytesSent = 0
  readonly frames: Frame[] = []
  readonly #ended = Promise.withResolvers<Error | undefined>()
  readonly closed = this.#ended.promise
  room = Number.POSITIVE_INFINITY
  hasEnded = false
  readonly #drained = Promise.withResolvers<void>()

  constructor(accepted: Partial<Accepted> = {}) {
    this.accepted = { epoch: 0, length: 0, maxRows: 512, ...accepted }
    this.#drained.promise.catch(() => {})
  }

  send(frame: Frame): Promise<void> {
    if (this.hasEnded) return rejected()
    this.frames.push(frame)
    return this.frames.length < this.room ? Promise.resolve() : this.#drained.promise
  }

  drain(): void {
    this.room = Number.POSITIVE_INFINITY
    this.#drained.resolve()
  }

  async close(): Promise<void> {
    this.#end(undefined)
  }

  abort(error: Error): void {
    this.#end(error)
  }

  #end(error: Error | undefined): void {
    if (this.hasEnded) return
    this.hasEnded = true
    this.#drained.reject(new Error('the stream has ended'))
    this.#ended.resolve(error)
  }
}

/** Frames that wait while it is paused. */
export class FakeReceiver implements DataReceiver {
  readonly peer = 'peer'
  bytesReceived = 0
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

function rejected(): Promise<never> {
  const promise = Promise.reject(new Error('the stream has ended'))
  promise.catch(() => {}) // as with a real one, nobody has to await what was sent
  return promise
}
