// What a hop has sent in a session, kept until the session ends (as a TCP sender keeps its window): when the
// next hop's machine dies, whoever takes its place is given all of it. See DESIGN 4, "recovery is replay".
import { ShoalError } from '../common/index.ts'
import type { Frame, FrameCodec } from '../net/index.ts'
import type { FrameState } from './frames.ts'
import { Payloads, type PayloadsInit } from './payloads.ts'
import { RowTable } from './row-table.ts'

/** Thrown when rows are asked for that could not be kept: the disk was full, say. The hop before has them. */
export class ReplayLostError extends ShoalError {
  declare readonly code: 'REPLAY_LOST'
  /** The first of the rows that were asked for. */
  readonly position: number

  constructor(position: number, options?: ErrorOptions) {
    const message = `the rows at position ${position} were not kept: free disk space, or ask the hop before`
    super('REPLAY_LOST', message, options)
    this.position = position
  }
}

/** What comes before it is the log's to say. */
export type Logged = Omit<Frame, 'follows'>

export interface ReplayLogInit extends PayloadsInit {
  /** What frames are given out in. */
  readonly codec: FrameCodec
}

/** The rows `[0, length)` that a hop sent. Those whose payloads could not be kept are lost, and only they. */
export class ReplayLog {
  readonly #codec: FrameCodec
  readonly #rowBytes: number
  readonly #table = new RowTable()
  readonly #payloads: Payloads
  #closing: Promise<void> | undefined

  constructor(init: ReplayLogInit) {
    this.#codec = init.codec
    this.#rowBytes = init.rowBytes
    this.#payloads = new Payloads(init, this.#table)
  }

  /** Rows in the log. */
  get length(): number {
    return this.#table.length
  }

  /** Bytes of the payload buffers in memory. */
  get memoryBytesUsed(): number {
    return this.#payloads.bytesUsed
  }

  /** Copies the frame's rows. A frame that does not follow the last row is the programmer's mistake. */
  append(frame: Logged): void {
    const { position, tokens, payload } = frame
    if (this.#closing !== undefined) throw new Error('the log is closed')
    if (payload.byteLength !== tokens.length * this.#rowBytes) {
      throw new Error(`${payload.byteLength} bytes for ${tokens.length} rows of ${this.#rowBytes} bytes`)
    }
    this.#table.append(frame)
    this.#payloads.store(position, payload)
    this.#payloads.spill()
  }

  /** Of the row before this one; 0 before the first. */
  epochBefore(row: number): number {
    return this.#table.epochBefore(row)
  }

  /** Forgets the rows from `length` on. */
  truncate(length: number): void {
    if (length >= this.length) return
    this.#table.length = length
    this.#payloads.truncate(length)
  }

  /**
   * How many of the first rows a receiver has that holds `[0, state.length)` as of `state.epoch`: what was
   * rewritten in a later epoch is not what it has. May be more than this log's length.
   */
  held(state: FrameState): number {
    return this.#table.held(state)
  }

  /**
   * Rows from `from` on, at least one and at most `most`, as they are at the time of the call. All are of one epoch,
   * and exactly those that a draw was asked for after, and which are not before `drawFrom`, are to be drawn after:
   * the frame ends where one sample mode can't say that. The payload is the caller's own.
   * Synchronous when all rows are in memory. Throws, or rejects with, {@link ReplayLostError}.
   */
  read(from: number, most: number, drawFrom: number): Frame | Promise<Frame> {
    if (!(from >= 0 && from < this.length && most >= 1)) {
      throw new Error(`can't read ${most} rows at ${from} of a log of ${this.length} rows`)
    }
    if (this.#table.isLost(from)) throw new ReplayLostError(from, { cause: this.#payloads.failure })
    const rows = this.#table.frameAt(from, Math.min(this.length, from + most), drawFrom)
    const payload = new Uint8Array(rows.tokens.length * this.#rowBytes)
    const frame: Frame = { ...rows, codec: this.#codec, payload }
    const fails = (cause: unknown): never => {
      throw new ReplayLostError(from, { cause })
    }
    return this.#payloads.load(from, payload)?.then(() => frame, fails) ?? frame
  }

  /** Frees memory and file; reads under way may reject. Never rejects itself. */
  close(): Promise<void> {
    this.#table.length = 0
    this.#closing ??= this.#payloads.close()
    return this.#closing
  }
}
