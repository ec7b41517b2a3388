// Frames on a raw stream, in one direction.
import { type RawStream, rejected } from './raw-stream.ts'
import type { DataReceiver, DataSender, Listener } from './types.ts'
import { WireError } from './wire/errors.ts'
import { encodeFrame, FrameDecoder } from './wire/frame.ts'
import type { Accepted, Frame, FrameLimits } from './wire/types.ts'

const SENT = Promise.resolve()

export class RawDataSender implements DataSender {
  readonly accepted: Accepted
  readonly #raw: RawStream

  constructor(raw: RawStream, accepted: Accepted) {
    this.#raw = raw
    this.accepted = accepted
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

  send(frame: Frame): Promise<void> {
    try {
      return this.#raw.write(encodeFrame(frame)) ? SENT : this.#raw.drained()
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

export class RawDataReceiver implements DataReceiver {
  readonly #raw: RawStream
  #reader: { decoder: FrameDecoder; listener: Listener<Frame> } | undefined
  #isPaused = false
  /** The other side has ended in good order, maybe with frames in hand that a pause holds back. */
  #isFinished = false
  #hasEnded = false

  constructor(raw: RawStream) {
    this.#raw = raw
  }

  get peer(): string {
    return this.#raw.peer
  }

  get closed(): Promise<Error | undefined> {
    return this.#raw.closed
  }

  get bytesReceived(): number {
    return this.#raw.bytesReceived
  }

  start(limits: FrameLimits, listener: Listener<Frame>): void {
    const decoder = new FrameDecoder(limits)
    this.#reader = { decoder, listener }
    this.#raw.start({
      bytes: (chunk) => {
        if (chunk instanceof Uint8Array) decoder.push(chunk)
        else for (const part of chunk) decoder.push(part)
        this.#deliver()
      },
      end: (error) => {
        if (error !== undefined) this.#end(error)
        this.#isFinished = true
        this.#deliver()
      }
    })
    if (this.#isPaused) this.#raw.pause()
  }

  pause(): void {
    this.#isPaused = true
    this.#raw.pause()
  }

  resume(): void {
    this.#isPaused = false
    try {
      this.#deliver()
    } catch (error) {
      this.abort(error as Error)
    }
    if (this.#reader !== undefined && !this.#isPaused) this.#raw.resume()
  }

  abort(error: Error): void {
    if (this.#isFinished) this.#end(error)
    else this.#raw.abort(error)
  }

  /** Frames in hand, then the end if it has come. */
  #deliver(): void {
    if (this.#reader === undefined) return
    const { decoder, listener } = this.#reader
    while (!this.#isPaused && !this.#hasEnded) {
      const frame = decoder.next()
      if (frame !== undefined) {
        listener.receive(frame)
        continue
      }
      if (!this.#isFinished) return
      const isCut = !decoder.isBetweenFrames
      this.#end(isCut ? new WireError('MALFORMED', 'the stream ended within a frame') : undefined)
    }
  }

  #end(error?: Error): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#reader?.listener.end(error)
  }
}
