/** Two ends of a stream in memory, which keep to what `raw-stream.ts` does with libp2p's. */
import { NetError } from './errors.ts'
import { CLOSE_TIMEOUT_MS, rejected } from './raw-stream.ts'
import type { Listener } from './types.ts'

/** As the window of a stream between nodes: more than that waits with its sender. */
const WINDOW_BYTES = 8 * 1024 * 1024
const SENT = Promise.resolve()

export class LoopbackEnd<Out, In> {
  readonly closed: Promise<Error | undefined>
  bytesSent = 0
  bytesReceived = 0
  #other: LoopbackEnd<In, Out> | undefined
  readonly #resolveClosed: (error?: Error) => void
  readonly #onFault: (thrown: unknown) => void
  #listener: Listener<In> | undefined
  /** What has come and was not delivered. */
  #waiting: { readonly value: In; readonly bytes: number }[] = []
  #waitingBytes = 0
  #isPaused = false
  #isDelivering = false
  #isScheduled = false
  #isClosing = false
  /** The other end sends no more. */
  #isFinished = false
  #hasEnded = false
  #error: Error | undefined
  #room: PromiseWithResolvers<void> | undefined

  private constructor(onFault: (thrown: unknown) => void) {
    this.#onFault = onFault
    const { promise, resolve } = Promise.withResolvers<Error | undefined>()
    this.closed = promise
    this.#resolveClosed = resolve
  }

  /** `onFault` hears what a listener threw at the end. */
  static pair<A, B>(onFault: (thrown: unknown) => void): [LoopbackEnd<A, B>, LoopbackEnd<B, A>] {
    const ours = new LoopbackEnd<A, B>(onFault)
    const theirs = new LoopbackEnd<B, A>(onFault)
    ours.#other = theirs
    theirs.#other = ours
    return [ours, theirs]
  }

  get #peer(): LoopbackEnd<In, Out> {
    return this.#other as LoopbackEnd<In, Out>
  }

  get hasEnded(): boolean {
    return this.#hasEnded || this.#isClosing
  }

  start(listener: Listener<In>): void {
    this.#listener = listener
    if (this.#hasEnded) queueMicrotask(() => listener.end(this.#error))
    else this.#deliver()
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#deliver()
  }

  /** Resolves when the other end takes more; rejects with NetError CLOSED when the stream ends before. */
  send(value: Out, bytes: number): Promise<void> {
    if (this.hasEnded) return rejected(this.#endedError())
    const peer = this.#peer
    this.bytesSent += bytes
    if (!peer.#isClosing) {
      peer.#waiting.push({ value, bytes })
      peer.#waitingBytes += bytes
      peer.#deliverSoon()
    }
    if (peer.#waitingBytes <= WINDOW_BYTES) return SENT
    this.#room ??= Promise.withResolvers()
    this.#room.promise.catch(() => {}) // nobody has to await it: `closed` tells too
    return this.#room.promise
  }

  async close(): Promise<void> {
    if (!this.hasEnded) {
      this.#isClosing = true
      this.#forgetWaiting()
      this.#peer.#isFinished = true
      this.#peer.#deliverSoon()
      const late = new NetError('CLOSED', 'this node did not end its stream to itself in time')
      const timer = setTimeout(() => this.#endBoth(late), CLOSE_TIMEOUT_MS).unref()
      void this.closed.then(() => clearTimeout(timer))
    }
    await this.closed
  }

  abort(error: Error): void {
    if (this.#hasEnded) return
    this.#end(error)
    const reset = new NetError('CLOSED', `the stream was reset: ${error.message}`, { cause: error })
    queueMicrotask(() => this.#peer.#end(reset))
  }

  #deliverSoon(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#deliver()
    })
  }

  #deliver(): void {
    if (this.#isDelivering) return
    this.#isDelivering = true
    try {
      while (this.#listener !== undefined && !this.#isPaused) {
        const next = this.#waiting.shift()
        if (next === undefined) break
        this.#waitingBytes -= next.bytes
        this.bytesReceived += next.bytes
        this.#listener.receive(next.value)
      }
    } catch (error) {
      this.abort(error as Error)
    } finally {
      this.#isDelivering = false
    }
    if (this.#waitingBytes <= WINDOW_BYTES) this.#peer.#hasRoom()
    const isRead = this.#listener !== undefined && !this.#isPaused && this.#waiting.length === 0
    if (this.#isFinished && !this.#hasEnded && (isRead || this.#isClosing)) this.#endBoth()
  }

  #hasRoom(): void {
    this.#room?.resolve()
    this.#room = undefined
  }

  #endBoth(error?: Error): void {
    this.#end(error)
    queueMicrotask(() => this.#peer.#end(error))
  }

  #forgetWaiting(): void {
    this.#waiting = []
    this.#waitingBytes = 0
    this.#peer.#hasRoom()
  }

  #end(error?: Error): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#error = error
    this.#room?.reject(this.#endedError())
    this.#room = undefined
    this.#forgetWaiting()
    this.#resolveClosed(error)
    try {
      this.#listener?.end(error)
    } catch (thrown) {
      this.#onFault(thrown) // it must not take with it whoever ended the stream
    }
  }

  #endedError(): NetError {
    const reason = this.#error?.message ?? 'it was closed'
    return new NetError('CLOSED', `the stream to this node itself has ended: ${reason}`, {
      cause: this.#error
    })
  }
}
