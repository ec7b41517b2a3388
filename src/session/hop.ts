/** One stage of a session's chain as the consumer sees it: its control stream, where it stands, and whether it lives. */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type {
  ControlMessage,
  ControlStream,
  Need,
  NextHop,
  Open,
  Pong,
  SamplerOptions,
  SessionHost,
  Tokens
} from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { HopStatistics } from './statistics.ts'
import { Way } from './way.ts'
import { Worst } from './worst.ts'

export const TICKET_BYTES = 16
/** Whoever has said nothing for so long is asked: soon while an answer is waited for, rarely between answers. */
const ASK_AFTER_MS = { active: 250, idle: 5_000 }
/** Who has been asked and says nothing is gone, after this or four times what it predicts. Ticks come on top. */
const SILENCE_MS = { active: 950, idle: 15_000 }
const PREDICTED_TIMES = 4
/** Where a stage stood longer ago says nothing: while frames flow, nobody is asked. */
const FRESH_MS = 1_000
/** To come back to a stage whose connection broke. Who is dead refuses at once. */
const RESUME_MS = 2_000
/** A stage that does not say goodbye by then is left to find out by itself. */
const CLOSE_MS = 1_000

/** Why a hop is no longer one. */
export interface Loss {
  readonly code: 'REFUSED' | 'LOST' | 'TIMEOUT'
  /** What the stage said, if it did; see RefusalCode. */
  readonly refusal?: string
  readonly message: string
}

export interface HopEvents {
  tokens(message: Tokens): void
  need(hop: Hop, message: Need): void
  /** Opened, linked, unlinked, extended, back: whoever waits looks again. */
  changed(hop: Hop): void
  leaving(hop: Hop): void
  /** Last. */
  lost(hop: Hop, loss: Loss): void
}

/** Rows that somebody has for the hop after, the epoch of the last one as far as it is known, and since when. */
export interface Passed {
  readonly rows: number
  readonly epoch: number
  readonly since: number
}

const NOTHING = { epoch: 0, length: 0, computed: 0 }

export class Hop {
  readonly place: ChainHop
  readonly statistics = new HopStatistics()
  /** Known to this stage and us alone: with it a lost connection is resumed. */
  readonly id: Uint8Array = randomBytes(TICKET_BYTES)
  /** What the hop before presents. */
  ticketIn: Uint8Array = randomBytes(TICKET_BYTES)
  /** To the hop after; the tail needs none. */
  readonly way = new Way()
  isOpen = false
  isLeaving = false
  /** When to look again for somebody to move to from a stage that is leaving, by performance.now(). */
  moveAt = 0
  loss: Loss | undefined
  /** What its quickest answer to a question took: how far away it is. */
  replyMs: number | undefined
  /** Positions that it has reserved. */
  capacity = 0
  /** Which sampler the tail should draw by, where it knows versions. */
  #sampler: SamplerOptions | undefined
  #knowsVersions = false
  /** Positions that it was asked to reserve. */
  asked = 0
  /** What it said last of where it stands. */
  #standing: { readonly pong: Pong; readonly at: number } | undefined
  /** Since when it has said so of `computed`, and since when nothing has come to it while it had nothing to do. */
  #computedSince = 0
  #hungrySince = 0
  readonly #host: SessionHost
  readonly #events: HopEvents
  /** The position of the first row whose draw we have not seen. */
  readonly #drawFrom: () => number
  #control: ControlStream | undefined
  /** Where it was told last to send to, since it opened. */
  #next: NextHop | undefined
  #isClosed = false
  #opened = Promise.withResolvers<void>()
  #broken = Promise.withResolvers<void>()
  readonly #gone = Promise.withResolvers<void>()
  #heard = performance.now()
  #asked: { readonly nonce: number; readonly at: number } | undefined
  #nonce = 0
  /** Milliseconds of answers to questions, and of waiting and computing for a token. */
  readonly #times = new Worst()
  #replies = new Map<number, () => void>()

  constructor(host: SessionHost, place: ChainHop, events: HopEvents, drawFrom: () => number) {
    this.#host = host
    this.place = place
    this.#events = events
    this.#drawFrom = drawFrom
  }

  /** It is leaving, and it is time to look for somebody to move to. */
  get mustMove(): boolean {
    return this.isLeaving && this.moveAt < performance.now()
  }

  /** Reaches the stage and asks it to admit the session. Resolves when it is open or lost. */
  async open(message: Open, signal: AbortSignal): Promise<void> {
    this.asked = message.reserve
    this.#sampler = message.sampler
    if (message.next !== undefined) this.way.begin(message.next.ticket, false)
    try {
      const control = await this.#reach(signal)
      if (this.#isClosed) return control.abort(new Error('the session has ended'))
      this.#listen(control)
      control.send(message)
    } catch (error) {
      this.lose({ code: 'LOST', message: `it cannot be reached: ${(error as Error).message}` })
    }
    const late = (): void => this.lose({ code: 'TIMEOUT', message: 'it did not open the session in time' })
    signal.addEventListener('abort', late, { once: true })
    if (signal.aborted) late()
    await Promise.race([this.#opened.promise, this.gone])
    signal.removeEventListener('abort', late)
  }

  /** Resolves when it is lost or closed. */
  get gone(): Promise<void> {
    return this.#gone.promise
  }

  #reach(signal: AbortSignal): Promise<ControlStream> {
    return this.#host.openControl(this.place.peer, [...this.place.addresses], signal)
  }

  #listen(control: ControlStream): void {
    this.#control = control
    this.#heard = performance.now()
    this.#asked = undefined // on the stream before, which took the answer along
    this.#broken = Promise.withResolvers()
    control.start({
      receive: (message) => {
        if (this.#control === control && this.loss === undefined) this.#receive(message)
      },
      end: (error) => {
        if (this.#control === control && !this.#isClosed) void this.#ended(error)
      }
    })
  }

  #receive(message: ControlMessage): void {
    this.#heard = performance.now()
    switch (message.type) {
      case 'opened':
        this.isOpen = true
        this.#opened.resolve()
        this.capacity = message.capacity
        this.#knowsVersions = message.sampler !== undefined
        // A connection that broke may have taken it along.
        if (this.#knowsVersions && this.#sampler !== undefined && message.sampler !== this.#sampler.version) {
          this.#resample(this.#sampler)
        }
        this.#events.changed(this)
        break
      case 'extended':
        this.capacity = message.capacity
        this.#events.changed(this)
        break
      case 'leaving':
        this.isLeaving = true
        this.#events.leaving(this)
        break
      case 'linked':
        if (this.way.is(message.ticket)) this.way.opened()
        this.#events.changed(this)
        break
      case 'unlinked':
        if (this.way.is(message.ticket)) this.way.broke(message.message)
        this.#events.changed(this)
        break
      case 'refused':
        this.lose({ code: 'REFUSED', refusal: message.code, message: `${message.message} (${message.code})` })
        break
      case 'timing':
        for (const frame of message.frames) {
          this.statistics.add(frame)
          // A prompt's frames wait for each other, which says nothing about an answer to a question.
          const { rows, queueMicroseconds, computeMicroseconds } = frame
          if (rows === 1) this.#times.add((queueMicroseconds + computeMicroseconds) / 1000)
        }
        break
      case 'pong':
        this.#answered(message)
        break
      case 'need':
        this.#events.need(this, message)
        break
      case 'tokens':
        this.#events.tokens(message)
        break
    }
  }

  #answered(pong: Pong): void {
    const before = this.#standing?.pong
    const now = this.#heard
    if (pong.computed !== before?.computed || pong.epoch !== before.epoch) this.#computedSince = now
    const isHungry = pong.computed === pong.length && pong.receivedBytes === before?.receivedBytes
    if (!isHungry) this.#hungrySince = now
    this.#standing = { pong, at: now }
    this.#replies.get(pong.nonce)?.()
    this.#replies.delete(pong.nonce)
    if (this.#asked?.nonce !== pong.nonce) return
    const replyMs = now - this.#asked.at
    this.replyMs = Math.min(replyMs, this.replyMs ?? replyMs)
    this.#times.add(replyMs)
    this.#asked = undefined
  }

  /** The stream ended. A broken connection may be no more than that: the stage keeps the session for a while. */
  async #ended(error: Error | undefined): Promise<void> {
    if (this.loss !== undefined) return
    const message = error === undefined ? 'it closed the session' : `its connection ended: ${error.message}`
    if (error === undefined || !this.isOpen) return this.lose({ code: 'LOST', message })
    this.isOpen = false
    this.#control = undefined
    this.#opened = Promise.withResolvers()
    this.#broken.resolve()
    try {
      const control = await this.#reach(AbortSignal.timeout(RESUME_MS))
      if (this.#isClosed || this.loss !== undefined) return control.abort(new Error('the session has ended'))
      this.#listen(control)
      control.send({ type: 'resume', session: this.id, drawFrom: this.#drawFrom() })
      this.#sayAgain()
    } catch {
      this.lose({ code: 'LOST', message })
    }
  }

  send(message: ControlMessage): void {
    if (message.type === 'rewire') this.#next = message.next ?? this.#next
    this.#control?.send(message)
  }

  /** What a connection that broke may have taken along. */
  #sayAgain(): void {
    const next = this.way.state === 'opening' ? this.#next : undefined
    this.send({ type: 'rewire', ticketIn: this.ticketIn, drawFrom: this.#drawFrom(), ...(next && { next }) })
    if (this.capacity < this.asked) this.send({ type: 'extend', reserve: this.asked })
  }

  /**
   * From now on draws say whether they are by this sampler. Of a tail that knows no versions: resolves when rows that are
   * sent after that are drawn so, also where its connection breaks, or when it is gone.
   */
  resample(sampler: SamplerOptions): Promise<void> | undefined {
    if (this.#sampler?.version === sampler.version) return undefined
    this.#sampler = sampler
    if (!this.#knowsVersions) return this.#resampled(sampler)
    this.#resample(sampler)
    return undefined
  }

  #resample(sampler: SamplerOptions): void {
    this.send({ type: 'resample', sampler })
  }

  async #resampled(sampler: SamplerOptions): Promise<void> {
    for (;;) {
      await Promise.race([this.#opened.promise, this.gone])
      if (this.loss !== undefined || this.#isClosed) return
      const broken = this.#broken.promise.then(() => false)
      this.send({ type: 'resample', sampler })
      if (await Promise.race([this.#reached(), this.gone.then(() => true), broken])) return
    }
  }

  /** Resolves when the stage has read all that was sent to it before; never where the connection breaks. */
  #reached(): Promise<true> {
    const { promise, resolve } = Promise.withResolvers<true>()
    this.#replies.set(this.#ask(), () => resolve(true))
    return promise
  }

  #ask(): number {
    this.#nonce += 1
    this.#asked ??= { nonce: this.#nonce, at: performance.now() }
    this.send({ type: 'ping', nonce: this.#nonce })
    return this.#nonce
  }

  /** Looks whether it is alive. `lateMs`: so much later than planned, by our own fault, which is not held against it. */
  tick(isActive: boolean, lateMs: number): void {
    if (this.loss !== undefined || this.#control === undefined) return
    const now = performance.now()
    this.#heard = Math.min(now, this.#heard + lateMs)
    const mode = isActive ? 'active' : 'idle'
    const silence = now - this.#heard
    if (silence > ASK_AFTER_MS[mode] && this.#asked === undefined) this.#ask()
    if (this.#asked === undefined || silence <= this.#deadline(mode)) return
    this.lose({ code: 'TIMEOUT', message: `it has said nothing for ${(silence / 1000).toFixed(1)} s` })
  }

  #deadline(mode: 'active' | 'idle'): number {
    return Math.max(SILENCE_MS[mode], PREDICTED_TIMES * this.predictedMs)
  }

  /** The worst lately, or what the stage says that its steps take. */
  get predictedMs(): number {
    const stepMs = (this.#standing?.pong.stepMicroseconds ?? 0) / 1000
    return Math.max(stepMs, this.#times.value)
  }

  /** What it has computed; nothing where it has not been asked lately. */
  get computed(): Passed {
    const { epoch, length, computed } = this.#fresh ?? NOTHING
    // It takes an epoch before it has computed a row of it.
    return { rows: computed, epoch: computed === length ? epoch : 0, since: this.#computedSince }
  }

  /** Whether rows that the hop before has had for it for a while don't come, though it has nothing else to do. */
  lacks({ rows, epoch, since }: Passed): boolean {
    const standing = this.#fresh
    if (standing === undefined || (standing.length >= rows && standing.epoch >= epoch)) return false
    // Not until now: what has come to it since it was asked last is not known.
    const waited = (this.#standing?.at ?? 0) - Math.max(since, this.#hungrySince)
    return standing.length === standing.computed && waited > this.#deadline('active')
  }

  /** Whether the tail has computed all these rows for a while, and draws nothing. */
  owes({ rows, since }: Pick<Passed, 'rows' | 'since'>): boolean {
    const waited = performance.now() - Math.max(since, this.#computedSince)
    return rows > 0 && this.#fresh?.computed === rows && waited > this.#deadline('active')
  }

  /** As it said last. */
  get epoch(): number {
    return this.#standing?.pong.epoch ?? 0
  }

  get #fresh(): Pong | undefined {
    const isOld = this.#standing === undefined || performance.now() - this.#standing.at > FRESH_MS
    return isOld ? undefined : this.#standing?.pong
  }

  /** An answer is waited for from now on: what it has not said while nobody asked is no sign. */
  wake(): void {
    this.#heard = performance.now()
    this.#hungrySince = this.#heard
    this.#asked = undefined
    if (this.loss === undefined && this.#control !== undefined) this.#ask()
  }

  lose(loss: Loss): void {
    if (this.loss !== undefined || this.#isClosed) return
    this.loss = loss
    this.isOpen = false
    this.#control?.send({ type: 'close' }) // it may live and only be silent
    void this.#control?.close()
    this.#gone.resolve()
    this.#events.lost(this, loss)
  }

  /** Frees the session at the stage, where it can be reached. Its last timings have come after that. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#gone.resolve()
    const control = this.#control
    if (control === undefined || this.loss !== undefined) return
    control.send({ type: 'close' })
    await Promise.race([control.closed, delay(CLOSE_MS, undefined, { ref: false })])
    await control.close()
  }
}
