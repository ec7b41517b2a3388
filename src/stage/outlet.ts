/** What a hop sends on: to the next hop while there is a way to it, and once more to whoever comes in its place. */
import type { DataSender, Frame, NextHop } from '../net/index.ts'
import type { Logged, ReplayLog } from './replay-log.ts'

/** Rows per frame that is sent again: as a long prompt's, so that all newcomers in a row work at once. */
const REPLAY_ROWS = 64
/** A stream that broke is dialled once more: this long. Who is dead refuses at once, or is found silent by the consumer. */
const REDIAL_MS = 3_000
/** A stream that broke sooner than this would break again. */
const STEADY_MS = 1_000

export interface OutletInit {
  readonly log: ReplayLog
  readonly dial: (next: NextHop, signal: AbortSignal) => Promise<DataSender>
  readonly onLinked: (ticket: Uint8Array) => void
  readonly onUnlinked: (ticket: Uint8Array, message: string) => void
  /** The next hop lacks rows, from this position on, that the log could not keep. */
  readonly onLost: (position: number) => void
}

export class Outlet {
  readonly #init: OutletInit
  readonly #log: ReplayLog
  #sender: DataSender | undefined
  /** A sender that takes no more. Its `closed` says why, and what it lacks is known when there is a way again. */
  #ended: DataSender | undefined
  #attempt = new AbortController()
  /** The next hop has the rows before it; beyond the log's end where it has more than this hop has computed yet. */
  #cursor = 0
  /** The newest epoch that the next hop has heard of. */
  #epoch = 0
  #drawFrom = 0
  /** Times that the log was cut: what was being read then is stale. */
  #cuts = 0
  #isSending = false
  #isClosed = false

  constructor(init: OutletInit) {
    this.#init = init
    this.#log = init.log
  }

  get #open(): DataSender | undefined {
    return this.#sender === this.#ended ? undefined : this.#sender
  }

  /** Rows handed over so far, from position 0. */
  get length(): number {
    return this.#log.length
  }

  /** Of the last of them. */
  get epoch(): number {
    return this.#log.epochBefore(this.#log.length)
  }

  /** `frame` follows what was appended before. Its payload must stay as it is until it was sent. */
  append(frame: Logged): void {
    this.#log.append(frame)
    // An epoch that the next hop hasn't heard of rewrites rows that it has.
    if (frame.epoch > this.#epoch) this.#cursor = Math.min(this.#cursor, frame.position)
    const sender = this.#open
    const isNext = this.#cursor === frame.position && !this.#isSending
    if (sender !== undefined && isNext && frame.tokens.length <= sender.accepted.maxRows) {
      const follows = this.#log.epochBefore(frame.position)
      void this.#send(() => this.#transmit(sender, { ...frame, follows }))
    } else void this.#send()
  }

  truncate(length: number): void {
    this.#cuts += 1
    this.#drawFrom = Math.min(this.#drawFrom, length) // what was drawn after these rows is void, too
    this.#log.truncate(length)
  }

  /** Another next hop from now on. It gets what it lacks; draws before position `drawFrom` are not asked for again. */
  link(next: NextHop, drawFrom: number): void {
    this.#attempt.abort()
    this.#attempt = new AbortController()
    this.#detach()
    this.#drawFrom = drawFrom
    void this.#dial(next, this.#attempt.signal)
  }

  async #dial(next: NextHop, signal: AbortSignal, deadline?: AbortSignal): Promise<void> {
    const { dial, onLinked, onUnlinked } = this.#init
    let sender: DataSender
    try {
      sender = await dial(next, deadline === undefined ? signal : AbortSignal.any([signal, deadline]))
    } catch (error) {
      if (!signal.aborted) onUnlinked(next.ticket, error instanceof Error ? error.message : String(error))
      return
    }
    if (signal.aborted) return sender.abort(new Error('another next hop was named'))
    const since = performance.now()
    this.#attach(sender)
    onLinked(next.ticket)
    const error = await sender.closed
    if (signal.aborted || this.#sender !== sender) return
    this.#sender = undefined
    const isWorthAnother = error !== undefined && performance.now() - since > STEADY_MS
    if (isWorthAnother) void this.#dial(next, signal, AbortSignal.timeout(REDIAL_MS))
    else onUnlinked(next.ticket, error?.message ?? 'it closed the stream')
  }

  #attach(sender: DataSender): void {
    this.#sender = sender
    this.#epoch = sender.accepted.epoch
    this.#cursor = this.#log.held(sender.accepted)
    void this.#send()
  }

  #detach(): void {
    const sender = this.#sender
    this.#sender = undefined
    sender?.abort(new Error('another next hop was named'))
  }

  /** One call at a time sends everything, `first` before the rest. */
  async #send(first?: () => Promise<void>): Promise<void> {
    if (this.#isSending) return
    this.#isSending = true
    try {
      await first?.()
      for (;;) {
        const sender = this.#open
        if (sender === undefined || this.#cursor >= this.#log.length) return
        const cuts = this.#cuts
        const most = Math.min(REPLAY_ROWS, sender.accepted.maxRows)
        const frame = await this.#log.read(this.#cursor, most, this.#drawFrom)
        if (cuts === this.#cuts && sender === this.#sender) await this.#transmit(sender, frame)
      }
    } catch {
      if (!this.#isClosed) this.#init.onLost(this.#cursor)
    } finally {
      this.#isSending = false
    }
  }

  async #transmit(sender: DataSender, frame: Frame): Promise<void> {
    this.#cursor = frame.position + frame.tokens.length
    this.#epoch = Math.max(this.#epoch, frame.epoch)
    try {
      await sender.send(frame)
    } catch {
      this.#ended = sender
    }
  }

  /** Ends the stream in good order, and forgets everything. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#attempt.abort()
    const sender = this.#sender
    this.#sender = undefined
    await Promise.all([sender?.close(), this.#log.close()])
  }
}
