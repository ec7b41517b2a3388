// What control and data streams share: bytes in and out of a libp2p stream, and exactly one end.
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'
import { NetError } from './errors.ts'

/** For the other side to end its half after we ended ours; then the stream is reset. */
export const CLOSE_TIMEOUT_MS = 5_000

export interface Sink {
  bytes(chunk: Uint8Array | Uint8ArrayList): void
  /** Once, last. */
  end(error?: Error): void
}

export class RawStream {
  readonly peer: string
  readonly closed: Promise<Error | undefined>
  bytesReceived = 0
  bytesSent = 0
  readonly #stream: Stream
  readonly #resolveClosed: (error?: Error) => void
  #sink: Sink | undefined
  #hasEnded = false
  #error: Error | undefined
  #isClosing = false
  #remoteFinished = false
  #waiting: PromiseWithResolvers<void> | undefined

  /** Begins paused: nothing is read until `start`. `maxUnsent` bytes are kept for a peer that does not read. */
  constructor(stream: Stream, peer: string, maxUnsent: number) {
    this.#stream = stream
    this.peer = peer
    const { promise, resolve } = Promise.withResolvers<Error | undefined>()
    this.closed = promise
    this.#resolveClosed = resolve
    stream.maxWriteBufferLength = maxUnsent
    if (stream.readStatus === 'readable') stream.pause()
    stream.addEventListener('message', this.#onMessage)
    stream.addEventListener('remoteCloseWrite', this.#onRemoteFinished)
    stream.addEventListener('end', this.#onReadAll)
    stream.addEventListener('close', this.#onClose)
    stream.addEventListener('drain', this.#onDrain)
    if (stream.remoteWriteStatus !== 'writable') this.#remoteFinished = true
    if (stream.status !== 'open') queueMicrotask(() => this.#finish(this.#lost()))
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Begin to read; called again, the next reader takes over. */
  start(sink: Sink): void {
    this.#sink = sink
    if (this.#hasEnded) {
      queueMicrotask(() => sink.end(this.#error))
      return
    }
    this.resume()
    if (this.#remoteFinished && this.#stream.readableEnded) this.#onReadAll()
  }

  pause(): void {
    if (this.#stream.readStatus === 'readable') this.#stream.pause()
  }

  resume(): void {
    if (this.#stream.readStatus === 'paused') this.#stream.resume()
  }

  /** False when the bytes, or some, had to be queued: see `drained`. Throws {@link NetError} CLOSED. */
  write(bytes: Uint8Array | Uint8ArrayList): boolean {
    if (this.#hasEnded || this.#isClosing) throw this.endedError()
    const length = bytes.byteLength
    try {
      this.#stream.send(bytes)
    } catch (cause) {
      throw this.endedError(cause)
    }
    this.bytesSent += length
    return this.#canWrite()
  }

  /** Resolves when all that was written is with the operating system; rejects when the stream ends before. */
  drained(): Promise<void> {
    if (this.#hasEnded) return rejected(this.endedError())
    if (this.#waiting === undefined) {
      this.#waiting = Promise.withResolvers<void>()
      this.#waiting.promise.catch(() => {}) // nobody has to await it: `closed` tells too
    }
    return this.#waiting.promise
  }

  abort(error: Error): void {
    if (this.#hasEnded) return
    this.#finish(error)
    this.#stream.abort(error)
  }

  async close(): Promise<void> {
    if (this.#hasEnded || this.#isClosing) {
      await this.closed
      return
    }
    this.#isClosing = true
    const signal = AbortSignal.timeout(CLOSE_TIMEOUT_MS)
    const reset = () =>
      this.#stream.abort(new NetError('CLOSED', `${this.peer} did not end the stream in time`))
    signal.addEventListener('abort', reset)
    // A paused stream would never see that the other side ended.
    this.resume()
    await this.#stream.close({ signal }).catch((error: Error) => this.#stream.abort(error))
    if (this.#stream.status === 'closed') this.#finish()
    await this.closed
    signal.removeEventListener('abort', reset)
  }

  endedError(cause?: unknown): NetError {
    const reason = this.#error?.message ?? (cause instanceof Error ? cause.message : 'it was closed')
    return new NetError('CLOSED', `the stream with ${this.peer} has ended: ${reason}`, {
      cause: this.#error ?? cause
    })
  }

  #canWrite(): boolean {
    return !this.#stream.writableNeedsDrain && this.#stream.writeBufferLength === 0
  }

  #lost(): NetError {
    return new NetError('CLOSED', `the connection to ${this.peer} was lost`)
  }

  readonly #onMessage = (event: StreamMessageEvent): void => {
    this.bytesReceived += event.data.byteLength
    if (this.#hasEnded || this.#isClosing) return
    try {
      this.#sink?.bytes(event.data)
    } catch (error) {
      this.abort(error as Error)
    }
  }

  readonly #onRemoteFinished = (): void => {
    this.#remoteFinished = true
  }

  /** The other side ended its half in good order and all of it was read: end ours as well. */
  readonly #onReadAll = (): void => {
    if (!this.#remoteFinished || this.#isClosing || this.#hasEnded || !isOrderly(this.#stream)) return
    this.#finish()
    this.#stream
      .close({ signal: AbortSignal.timeout(CLOSE_TIMEOUT_MS) })
      .catch((error: Error) => this.#stream.abort(error))
  }

  readonly #onClose = (event: StreamCloseEvent): void => {
    if (event.error != null) this.#finish(event.error)
    else this.#finish(this.#isClosing || this.#remoteFinished ? undefined : this.#lost())
  }

  readonly #onDrain = (): void => {
    if (this.#waiting === undefined) return
    // The stream writes what it has queued in a microtask of its own, which comes before this one.
    queueMicrotask(() => {
      if (this.#waiting === undefined || !this.#canWrite()) return
      this.#waiting.resolve()
      this.#waiting = undefined
    })
  }

  #finish(error?: Error): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#error = error
    if (this.#waiting !== undefined) {
      this.#waiting.reject(this.endedError())
      this.#waiting = undefined
    }
    this.#resolveClosed(error)
    try {
      this.#sink?.end(error)
    } catch (thrown) {
      // A listener's own fault must not take the connection's event handler with it.
      queueMicrotask(() => this.#stream.log.error('a listener threw at the end of a stream - %e', thrown))
    }
  }
}

/** A rejection that does not end the process when nobody looks at it. */
export function rejected(error: unknown): Promise<never> {
  const promise = Promise.reject(error)
  promise.catch(() => {})
  return promise
}

function isOrderly(stream: Stream): boolean {
  return stream.status === 'open' || stream.status === 'closing' || stream.status === 'closed'
}
