import { setTimeout } from 'node:timers/promises'
import type { ControlMessage, ControlStream, DataSender, SampleMode } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { SessionError } from './errors.ts'
import type { Session } from './open.ts'
import { type HopFigures, HopStatistics } from './statistics.ts'

/** Rows per frame of a prompt: small enough that all stages work at once, large enough for matrix products. */
const PREFILL_ROWS = 128
/** A stage that does not say goodbye by then is left to find out by itself. */
const CLOSE_MS = 1_000
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
  wake: () => void
}

export class ChainSession implements Session {
  readonly #chain: readonly ChainHop[]
  readonly #controls: readonly ControlStream[]
  readonly #reserve: number
  readonly #statistics: HopStatistics[]
  readonly #openings: PromiseWithResolvers<number>[]
  #data: DataSender | undefined
  #epoch = 0
  /** Ids sent, and so in the KV caches once the frames in flight have arrived. */
  #history: number[] = []
  #answer: Answer | undefined
  #failure: SessionError | undefined
  #maxRows = PREFILL_ROWS

  constructor(chain: readonly ChainHop[], controls: readonly ControlStream[], reserve: number) {
    this.#chain = chain
    this.#controls = controls
    this.#reserve = reserve
    this.#statistics = chain.map(() => new HopStatistics())
    this.#openings = chain.map(() => Promise.withResolvers<number>())
    for (const { promise } of this.#openings) promise.catch(() => {}) // `opened` reports the first
    for (const [hop, control] of controls.entries()) {
      control.start({
        receive: (message) => this.#receive(hop, message),
        end: (error) => this.#fail('LOST', `its connection ended${error ? `: ${error.message}` : ''}`, hop)
      })
    }
  }

  /** Resolves when every stage has admitted the session. */
  async opened(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<never>()
    const abort = (): void => {
      aborted.reject(new SessionError('TIMEOUT', 'The stages did not open the session in time.'))
    }
    signal.addEventListener('abort', abort, { once: true })
    try {
      const rows = await Promise.race([
        Promise.all(this.#openings.map(({ promise }) => promise)),
        aborted.promise
      ])
      this.#maxRows = Math.min(PREFILL_ROWS, ...rows)
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  sendTo(data: DataSender): void {
    this.#data = data
    void data.closed.then((error) =>
      this.#fail('LOST', `its data stream ended${error ? `: ${error.message}` : ''}`, 0)
    )
  }

  #receive(hop: number, message: ControlMessage): void {
    switch (message.type) {
      case 'opened':
        this.#openings[hop]?.resolve(message.maxRows)
        break
      case 'refused':
        this.#fail('REFUSED', `${message.message} (${message.code})`, hop)
        break
      case 'timing':
        for (const frame of message.frames) this.#statistics[hop]?.add(frame)
        break
      case 'need':
        // Ids are all that the first stage needs: rewind everyone to what this one has.
        if (message.epoch === this.#epoch && message.length < this.#history.length)
          this.#resend(message.length)
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
    if (answer === undefined || token === undefined || position + 1 !== this.#history.length) return
    const { endTokens, maxTokens } = answer.options
    answer.drawn += 1
    const isLast = endTokens.has(token) || answer.drawn >= maxTokens
    if (!isLast) this.#send([token], this.#history.length, 'last')
    answer.queue.push(token)
    answer.wake()
  }

  #resend(length: number): void {
    this.#epoch += 1
    const rows = this.#history.slice(length)
    this.#history.length = length
    void this.#sendPrompt(rows, length)
  }

  #send(tokens: readonly number[], position: number, sample: SampleMode): Promise<void> {
    this.#history.length = position
    this.#history.push(...tokens)
    const frame = {
      epoch: this.#epoch,
      position,
      tokens: Int32Array.from(tokens),
      sample,
      codec: 'none' as const,
      payload: NO_PAYLOAD
    }
    // A stream that ends is reported by `closed`.
    return (this.#data as DataSender).send(frame).catch(() => {})
  }

  async #sendPrompt(tokens: readonly number[], position: number): Promise<void> {
    for (let done = 0; done < tokens.length; done += this.#maxRows) {
      const chunk = tokens.slice(done, done + this.#maxRows)
      const isLast = done + chunk.length === tokens.length
      await this.#send(chunk, position + done, isLast ? 'last' : 'none')
    }
  }

  async *generate(tokens: Int32Array, options: GenerateOptions): AsyncGenerator<number, void> {
    const needed = tokens.length + options.maxTokens - 1
    if (tokens.length === 0) throw new SessionError('INPUT', 'There is nothing to answer.')
    if (needed > this.#reserve) {
      throw new SessionError('INPUT', `${needed} positions are needed, ${this.#reserve} are reserved.`)
    }
    let changed = Promise.withResolvers<void>()
    const answer: Answer = { options, queue: [], drawn: 0, wake: () => changed.resolve() }
    const abort = (): void => changed.resolve()
    options.signal?.addEventListener('abort', abort, { once: true })
    this.#answer = answer
    try {
      this.#begin(tokens)
      for (;;) {
        options.signal?.throwIfAborted()
        for (let token = answer.queue.shift(); token !== undefined; token = answer.queue.shift()) {
          yield token
          if (options.endTokens.has(token)) return
        }
        if (this.#failure !== undefined) throw this.#failure
        if (answer.drawn >= options.maxTokens) return
        await changed.promise
        changed = Promise.withResolvers<void>()
      }
    } finally {
      options.signal?.removeEventListener('abort', abort)
      this.#answer = undefined
    }
  }

  /** Sends what the stages don't have yet; at least the last row, whose logits give the first token. */
  #begin(tokens: Int32Array): void {
    let same = 0
    const limit = Math.min(tokens.length - 1, this.#history.length)
    while (same < limit && this.#history[same] === tokens[same]) same++
    if (same < this.#history.length) this.#epoch += 1
    this.#history.length = same
    void this.#sendPrompt(Array.from(tokens.subarray(same)), same)
  }

  get figures(): HopFigures[] {
    return this.#statistics.map(({ figures }) => figures)
  }

  #fail(code: 'REFUSED' | 'LOST' | 'CLOSED', reason: string, hop: number): void {
    if (this.#failure !== undefined) return
    const { start, end, peer } = this.#chain[hop] as ChainHop
    const progress = this.#answer === undefined ? '' : ` The answer had ${this.#answer.drawn} tokens.`
    this.#failure = new SessionError(
      code,
      `Hop ${hop} (blocks ${start}-${end} at ${peer}): ${reason}.${progress}`,
      hop
    )
    for (const { reject } of this.#openings) reject(this.#failure)
    this.#answer?.wake()
  }

  /** The stages' last timings are in `figures` after that. */
  async close(): Promise<void> {
    this.#fail('CLOSED', 'the session was closed', 0)
    for (const control of this.#controls) control.send({ type: 'close' })
    const ended = Promise.all(this.#controls.map((control) => control.closed))
    await Promise.race([ended, setTimeout(CLOSE_MS, undefined, { ref: false })])
    await Promise.all([this.#data?.close(), ...this.#controls.map((control) => control.close())])
  }
}
