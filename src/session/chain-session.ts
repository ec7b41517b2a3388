/** The consumer's end of a conversation: its ids, which of them have left, and the answer that is being given. */
import type { DrawLog, Need, SamplerOptions, Tokens } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { Chain, type ChainComponents } from './chain.ts'
import { SessionError } from './errors.ts'
import type { Session, SessionInit } from './open.ts'
import type { HopFigures } from './statistics.ts'

/** Rows per frame of a prompt: small enough that all stages work at once, large enough for matrix products. */
const PREFILL_ROWS = 128
/** Positions that are reserved beyond those in use; the next stretch is asked for when half is left. */
const STRETCH = 512
/** Rewinds without a token between them: recovery takes one or two, more are a stage that will never have enough. */
const MAX_REWINDS = 16
/** An answer waits so long for somebody to take over a lost hop, unless told otherwise. */
export const WAIT_MS = 60_000
const NO_PAYLOAD = new Uint8Array(0)

/** A drawn token, and how likely it was where the sampler has `alternatives`. */
export interface Draw extends Partial<DrawLog> {
  readonly token: number
}

export interface GenerateOptions {
  readonly maxTokens: number
  /** Ids after which the answer ends. */
  readonly endTokens: ReadonlySet<number>
  /** Draw otherwise than before. */
  readonly sampler?: SamplerOptions
  /** How long the answer may wait for somebody to take over a lost hop, in milliseconds; default 60,000. */
  readonly waitMs?: number
  /** Called for each token right before it is yielded. Where it throws, so does the answer. */
  readonly onDraw?: (draw: Draw) => void
  readonly signal?: AbortSignal
}

/** What one call of `generate` waits for. */
interface Answer {
  readonly options: GenerateOptions
  readonly queue: Draw[]
  drawn: number
  isComplete: boolean
  wake: () => void
}

export class ChainSession implements Session {
  readonly #chain: Chain
  #epoch = 0
  /** The conversation's ids. */
  #ids: number[] = []
  /** So many of them have left, or wait at the entry for a way. */
  #fed = 0
  /** Positions that this answer may come to. */
  #limit = 0
  #rewinds = 0
  #answer: Answer | undefined
  #failure: SessionError | undefined

  constructor(components: ChainComponents, init: SessionInit) {
    const { chain, codec = 'f32', reserve, sampler, onEvent } = init
    this.#chain = new Chain(components, {
      ...{ chain, codec, reserve, sampler, onEvent },
      drawFrom: () => Math.max(0, this.#ids.length - 1),
      events: {
        tokens: (message) => this.#drawn(message),
        need: (_, message) => this.#needed(message)
      },
      onChange: () => this.#feed(),
      onFailed: (error) => this.#fail(error),
      onGarbled: (length, epoch) => {
        if (length > 0 && this.#fed < this.#ids.length) return // the row to draw from still waits for room
        this.#epoch = Math.max(this.#epoch, epoch)
        this.#needed({ type: 'need', epoch: this.#epoch, length })
      }
    })
  }

  /** See openSession. */
  open(waitMs: number, signal: AbortSignal): Promise<void> {
    return this.#chain.open(waitMs, signal)
  }

  /** The next frame leaves before anybody looks at the token: the chain must not wait for its reader. */
  #drawn({ epoch, position, tokens, logs }: Tokens): void {
    const answer = this.#answer
    const token = tokens[0]
    if (answer === undefined || answer.isComplete || token === undefined) return
    // What is drawn again after a recovery has been given already.
    if (epoch !== this.#epoch || position + 1 !== this.#ids.length || this.#fed !== this.#ids.length) return
    const { endTokens, maxTokens } = answer.options
    this.#rewinds = 0
    this.#chain.advanced()
    answer.drawn += 1
    answer.isComplete = endTokens.has(token) || answer.drawn >= maxTokens
    if (!answer.isComplete) {
      this.#ids.push(token)
      this.#feed()
    }
    answer.queue.push({ token, ...logs?.[0] })
    answer.wake()
  }

  /** Ids are all that the first stage needs: everyone is taken back to what one lacks. */
  #needed({ epoch, length }: Need): void {
    if (epoch !== this.#epoch || length >= this.#fed) return
    this.#rewinds += 1
    if (this.#rewinds > MAX_REWINDS) {
      const what = `A stage asks for the same rows again and again, from position ${length}.`
      this.#fail(new SessionError('LOST', what))
      return
    }
    this.#cut(length)
    this.#feed()
  }

  #cut(length: number): void {
    this.#epoch += 1
    this.#fed = length
    this.#chain.entry.truncate(length)
  }

  /** Gives to the chain what has not left yet and has room. */
  #feed(): void {
    while (this.#fed < this.#ids.length) {
      const position = this.#fed
      const room = this.#chain.capacity - position
      const count = Math.min(PREFILL_ROWS, this.#ids.length - position, room)
      if (count <= 0) break // there will be room, or a hop less
      const tokens = Int32Array.from(this.#ids.slice(position, position + count))
      this.#fed += count
      const sample = this.#fed === this.#ids.length ? 'last' : 'none'
      const codec = 'none'
      this.#chain.entry.append({ epoch: this.#epoch, position, tokens, sample, codec, payload: NO_PAYLOAD })
      this.#chain.fed()
    }
    const isShort = this.#chain.capacity - this.#ids.length < STRETCH / 2
    if (this.#answer !== undefined && isShort) {
      this.#chain.extend(Math.min(this.#limit, this.#ids.length + STRETCH))
    }
  }

  async *generate(tokens: Int32Array, options: GenerateOptions): AsyncGenerator<number, void> {
    const { maxTokens, signal, sampler, onDraw, waitMs = WAIT_MS } = options
    if (tokens.length === 0) throw new SessionError('INPUT', 'There is nothing to answer.')
    if (maxTokens < 1) throw new SessionError('INPUT', 'An answer has at least one token.')
    if (this.#answer !== undefined) throw new SessionError('INPUT', 'The last answer is not finished.')
    const needed = tokens.length + maxTokens - 1
    const context = Math.min(...this.chain.map(({ stage }) => stage.context))
    if (needed > context) {
      throw new SessionError('INPUT', `${needed} positions are needed, the stages have ${context}.`)
    }
    signal?.throwIfAborted()
    let changed = Promise.withResolvers<void>()
    const wake = (): void => changed.resolve()
    const answer: Answer = { options, queue: [], drawn: 0, isComplete: false, wake }
    let isAborted = false // to ask a signal that is made of others is dear, for each token
    const abort = (): void => {
      isAborted = true
      wake()
    }
    signal?.addEventListener('abort', abort, { once: true })
    this.#answer = answer
    this.#limit = needed
    if (this.#failure?.code !== 'CLOSED') this.#failure = undefined
    try {
      // Before anybody is asked to take over from a tail that was lost meanwhile.
      const resampled = sampler === undefined ? undefined : this.#chain.resample(sampler)
      this.#chain.activate(waitMs)
      if (resampled !== undefined) await resampled
      this.#begin(tokens)
      for (;;) {
        for (let draw = answer.queue.shift(); draw !== undefined; draw = answer.queue.shift()) {
          if (isAborted) signal?.throwIfAborted()
          onDraw?.(draw)
          yield draw.token
        }
        if (isAborted) signal?.throwIfAborted()
        if (answer.isComplete) return
        if (this.#failure !== undefined) throw withProgress(this.#failure, answer.drawn)
        await changed.promise
        changed = Promise.withResolvers<void>()
      }
    } finally {
      signal?.removeEventListener('abort', abort)
      this.#answer = undefined
      this.#chain.rest()
    }
  }

  /** Sends what the stages don't have yet; at least the last row, whose logits give the first token. */
  #begin(tokens: Int32Array): void {
    let same = 0
    const limit = Math.min(tokens.length - 1, this.#fed)
    while (same < limit && this.#ids[same] === tokens[same]) same++
    if (same < this.#fed) this.#cut(same)
    this.#ids = Array.from(tokens)
    this.#rewinds = 0
    this.#feed()
  }

  get chain(): ChainHop[] {
    const { hops } = this.#chain
    return hops.map(({ place }) => place)
  }

  get figures(): HopFigures[] {
    return this.#chain.hops.map(({ statistics }) => statistics.figures)
  }

  #fail(error: SessionError): void {
    this.#failure = error
    this.#answer?.wake()
  }

  /** The stages' last timings are in `figures` after that. */
  async close(): Promise<void> {
    this.#fail(new SessionError('CLOSED', 'The session was closed.'))
    await this.#chain.close()
  }
}

function withProgress({ code, message, hop }: SessionError, drawn: number): SessionError {
  return new SessionError(code, `${message} The answer had ${drawn} tokens.`, hop)
}
