import { setTimeout as delay } from 'node:timers/promises'
import type { ControlMessage, ControlStream, DataSender, Refused } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { SessionError } from './errors.ts'
import type { Session } from './open.ts'
import { type HopFigures, HopStatistics } from './statistics.ts'

/** Rows per frame of a prompt: small enough that all stages work at once, large enough for matrix products. */
const PREFILL_ROWS = 128
/** A stage that does not say goodbye by then is left to find out by itself. */
const CLOSE_MS = 1_000
/** A stage that lost its next one says so at about the time when that one's own last words come, which tell more. */
const LAST_WORDS_MS = 100
/** Rewinds without a token between them: recovery takes one or two, more are a stage that will never have enough. */
const MAX_REWINDS = 16
const NO_PAYLOAD = new Uint8Array(0)

export interface GenerateOptions {
  readonly maxTokens: number
  /** Ids after which the answer ends. */
  readonly endTokens: ReadonlySet<number>
  readonly signal?: AbortSignal
}

/** What one call of `generate` waits for. */
interface Answer {
  readonly options: GenerateOptions
  readonly queue: number[]
  drawn: number
  isComplete: boolean
  wake: () => void
}

export class ChainSession implements Session {
  readonly #chain: readonly ChainHop[]
  readonly #controls: readonly ControlStream[]
  readonly #reserve: number
  readonly #statistics: HopStatistics[]
  readonly #openings: PromiseWithResolvers<number>[]
  readonly #silent: Set<number>
  /** Hops that gave the session up: their streams end, which is no news. */
  readonly #gone = new Set<number>()
  #data: DataSender | undefined
  #epoch = 0
  /** The conversation's ids. */
  #ids: number[] = []
  /** So many of them have left, and are in the KV caches once the frames in flight have arrived. */
  #sent = 0
  #isSending = false
  #rewinds = 0
  #answer: Answer | undefined
  #failure: SessionError | undefined
  #suspect: { readonly hop: number; readonly timer: NodeJS.Timeout } | undefined
  #maxRows = PREFILL_ROWS

  constructor(chain: readonly ChainHop[], controls: readonly ControlStream[], reserve: number) {
    this.#chain = chain
    this.#controls = controls
    this.#reserve = reserve
    this.#statistics = chain.map(() => new HopStatistics())
    this.#openings = chain.map(() => Promise.withResolvers<number>())
    this.#silent = new Set(chain.keys())
    for (const { promise } of this.#openings) promise.catch(() => {}) // `opened` reports the first
    for (const [hop, control] of controls.entries()) {
      control.start({
        receive: (message) => this.#receive(hop, message),
        end: (error) => this.#lost(hop, 'its connection ended', error)
      })
    }
  }

  /** Resolves when every stage has admitted the session. */
  async opened(signal: AbortSignal): Promise<void> {
    const abort = (): void => {
      const [hop = 0] = this.#silent
      this.#fail('TIMEOUT', 'it did not open the session in time', hop)
    }
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    try {
      const rows = await Promise.all(this.#openings.map(({ promise }) => promise))
      this.#maxRows = Math.min(PREFILL_ROWS, ...rows)
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  sendTo(data: DataSender): void {
    this.#data = data
    void data.closed.then((error) => this.#lost(0, 'its data stream ended', error))
  }

  #receive(hop: number, message: ControlMessage): void {
    switch (message.type) {
      case 'opened':
        this.#silent.delete(hop)
        this.#openings[hop]?.resolve(message.maxRows)
        break
      case 'refused':
        this.#refused(hop, message)
        break
      case 'timing':
        for (const frame of message.frames) this.#statistics[hop]?.add(frame)
        break
      case 'need':
        if (message.epoch === this.#epoch && message.length < this.#sent) this.#rewind(message.length, hop)
        break
      case 'tokens':
        if (message.epoch === this.#epoch) this.#drawn(message.position, message.tokens)
        break
    }
  }

  /** The next frame leaves before anybody looks at the token: the chain must not wait for its reader. */
  #drawn(position: number, tokens: readonly number[]): void {
    const answer = this.#answer
    const token = tokens[0]
    if (answer === undefined || answer.isComplete || token === undefined) return
    if (position + 1 !== this.#sent || this.#sent !== this.#ids.length) return
    const { endTokens, maxTokens } = answer.options
    this.#rewinds = 0
    answer.drawn += 1
    answer.isComplete = endTokens.has(token) || answer.drawn >= maxTokens
    if (!answer.isComplete) {
      this.#ids.push(token)
      void this.#send()
    }
    answer.queue.push(token)
    answer.wake()
  }

  /** Ids are all that the first stage needs: everyone is taken back to what `hop` has. */
  #rewind(length: number, hop: number): void {
    this.#rewinds += 1
    if (this.#rewinds > MAX_REWINDS) {
      this.#fail('LOST', `it asks for the same rows again and again, from position ${length}`, hop)
      return
    }
    this.#epoch += 1
    this.#sent = length
    void this.#send()
  }

  /** Sends what has not left yet; one call does it for all. */
  async #send(): Promise<void> {
    if (this.#isSending) return
    this.#isSending = true
    try {
      while (this.#sent < this.#ids.length) {
        const position = this.#sent
        const tokens = Int32Array.from(this.#ids.slice(position, position + this.#maxRows))
        this.#sent += tokens.length
        const sample = this.#sent === this.#ids.length ? 'last' : 'none'
        const frame = {
          epoch: this.#epoch,
          position,
          tokens,
          sample,
          codec: 'none',
          payload: NO_PAYLOAD
        } as const
        await (this.#data as DataSender).send(frame)
      }
    } catch {
      // A stream that ends is reported by `closed`.
    } finally {
      this.#isSending = false
    }
  }

  async *generate(tokens: Int32Array, options: GenerateOptions): AsyncGenerator<number, void> {
    const { maxTokens, signal } = options
    const needed = tokens.length + maxTokens - 1
    if (tokens.length === 0) throw new SessionError('INPUT', 'There is nothing to answer.')
    if (maxTokens < 1) throw new SessionError('INPUT', 'An answer has at least one token.')
    if (needed > this.#reserve) {
      throw new SessionError('INPUT', `${needed} positions are needed, ${this.#reserve} are reserved.`)
    }
    if (this.#answer !== undefined) throw new SessionError('INPUT', 'The last answer is not finished.')
    signal?.throwIfAborted()
    let changed = Promise.withResolvers<void>()
    const wake = (): void => changed.resolve()
    const answer: Answer = { options, queue: [], drawn: 0, isComplete: false, wake }
    signal?.addEventListener('abort', wake, { once: true })
    this.#answer = answer
    try {
      this.#begin(tokens)
      for (;;) {
        for (let token = answer.queue.shift(); token !== undefined; token = answer.queue.shift()) {
          signal?.throwIfAborted()
          yield token
        }
        signal?.throwIfAborted()
        if (answer.isComplete) return
        if (this.#failure !== undefined) throw this.#failure
        await changed.promise
        changed = Promise.withResolvers<void>()
      }
    } finally {
      signal?.removeEventListener('abort', wake)
      this.#answer = undefined
    }
  }

  /** Sends what the stages don't have yet; at least the last row, whose logits give the first token. */
  #begin(tokens: Int32Array): void {
    let same = 0
    const limit = Math.min(tokens.length - 1, this.#sent)
    while (same < limit && this.#ids[same] === tokens[same]) same++
    if (same < this.#sent) this.#epoch += 1
    this.#ids = Array.from(tokens)
    this.#sent = same
    this.#rewinds = 0
    void this.#send()
  }

  get figures(): HopFigures[] {
    return this.#statistics.map(({ figures }) => figures)
  }

  #refused(hop: number, { code, message }: Refused): void {
    const next = hop + 1
    this.#gone.add(hop)
    if (code !== 'next' || next >= this.#chain.length) {
      this.#fail('REFUSED', `${message} (${code})`, hop)
      return
    }
    // Of several, the one farthest down the chain is the cause.
    if (this.#failure !== undefined || (this.#suspect?.hop ?? 0) >= next) return
    clearTimeout(this.#suspect?.timer)
    const fail = (): void => this.#fail('LOST', `the hop before it says: ${message}`, next)
    this.#suspect = { hop: next, timer: setTimeout(fail, LAST_WORDS_MS) }
  }

  #lost(hop: number, what: string, error: Error | undefined): void {
    if (!this.#gone.has(hop))
      this.#fail('LOST', error === undefined ? what : `${what}: ${error.message}`, hop)
  }

  #fail(code: 'REFUSED' | 'LOST' | 'TIMEOUT' | 'CLOSED', reason: string, hop: number): void {
    if (this.#failure !== undefined) return
    clearTimeout(this.#suspect?.timer)
    const { start, end, peer } = this.#chain[hop] as ChainHop
    const progress = this.#answer === undefined ? '' : ` The answer had ${this.#answer.drawn} tokens.`
    const place = `Hop ${hop + 1} of ${this.#chain.length} (blocks ${start}-${end} at ${peer})`
    this.#failure = new SessionError(code, `${place}: ${reason}.${progress}`, hop)
    for (const { reject } of this.#openings) reject(this.#failure)
    this.#answer?.wake()
  }

  /** The stages' last timings are in `figures` after that. */
  async close(): Promise<void> {
    this.#fail('CLOSED', 'the session was closed', 0)
    for (const control of this.#controls) control.send({ type: 'close' })
    const ended = Promise.all(this.#controls.map((control) => control.closed))
    await Promise.race([ended, delay(CLOSE_MS, undefined, { ref: false })])
    await Promise.all([this.#data?.close(), ...this.#controls.map((control) => control.close())])
  }
}
