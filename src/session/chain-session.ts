/** The consumer's end of a conversation: its ids, which of them have left, and the answer that is being given. */
import type { DrawLog, Need, SamplerOptions, Tokens } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { Chain, type ChainComponents } from './chain.ts'
import { SessionError } from './errors.ts'
import type { Hop } from './hop.ts'
import type { Session, SessionInit } from './open.ts'
import { Speculation, type SpeculationFigures } from './speculation.ts'
import type { FrameCost, HopFigures } from './statistics.ts'
import { nextWindow } from './windows.ts'

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
  /**
   * The lowest position that was cut to since something was drawn. Who has missed the beginning of an epoch may have
   * rows of an earlier one from there on, and cannot tell which of them are meant.
   */
  #doubtful = Number.POSITIVE_INFINITY
  /** The conversation's ids, without what is guessed behind them. */
  #ids: number[] = []
  /** So many of them, and of the guesses behind them, have left, or wait at the entry for a way. */
  #fed = 0
  /** The answer's first position. */
  #answersFrom = 0
  /** Positions that this answer may come to. */
  #limit = 0
  #rewinds = 0
  #answer: Answer | undefined
  #failure: SessionError | undefined
  readonly #speculation: Speculation | undefined

  constructor(components: ChainComponents, init: SessionInit) {
    const { chain, codec = 'f32', reserve, sampler, onEvent } = init
    this.#chain = new Chain(components, {
      ...{ chain, codec, reserve, sampler, onEvent },
      drawFrom: () => Math.max(0, this.#ids.length - 1),
      epoch: () => this.#epoch,
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
    init.drafter?.resample(sampler)
    this.#speculation =
      init.drafter &&
      new Speculation({
        drafter: init.drafter,
        onGuesses: () => {
          if (this.#answer !== undefined) this.#feed()
        },
        cost: () => costOf(this.#chain.hops),
        linkMs: () => Math.max(...this.#chain.hops.map(({ replyMs }) => replyMs ?? 0))
      })
  }

  /** See openSession. */
  open(waitMs: number, signal: AbortSignal): Promise<void> {
    return this.#chain.open(waitMs, signal)
  }

  /** The next frames leave before anybody looks at the tokens: the chain must not wait for its reader. */
  #drawn({ epoch, position, tokens, logs, sampler }: Tokens): void {
    const answer = this.#answer
    if (answer === undefined || answer.isComplete || epoch !== this.#epoch) return
    if (sampler !== undefined && sampler !== this.#chain.samplerVersion) {
      // The rows were faster than what changed the sampler.
      this.#needed({ type: 'need', epoch, length: this.#ids.length - 1 })
      return
    }
    const before = answer.drawn
    for (const [index, token] of tokens.entries()) {
      const at = position + index + 1
      // What is drawn again after a recovery has been given already, and what was not asked for is nobody's.
      if (at < this.#ids.length && this.#isGiven(token, at)) continue
      if (at > this.#fed) break
      // Draws come in order: rows that were to be drawn after before have not come to the tail.
      if (at > this.#ids.length) this.#needed({ type: 'need', epoch, length: this.#ids.length - 1 })
      if (at !== this.#ids.length) break
      if (!this.#give(answer, { token, ...logs?.[index] })) break
    }
    if (answer.drawn === before) return
    this.#rewinds = 0
    this.#chain.advanced()
    if (answer.isComplete) this.#speculation?.rest()
    else {
      this.#speculation?.drawn(answer.drawn - before)
      this.#feed()
    }
    answer.wake()
  }

  /** A tail that draws otherwise than what was given takes no rows after that in this epoch. */
  #isGiven(token: number, at: number): boolean {
    if (at < this.#answersFrom || token === this.#ids[at]) return true
    this.#needed({ type: 'need', epoch: this.#epoch, length: at })
    return false
  }

  /** False where what was drawn behind it is void. */
  #give(answer: Answer, draw: Draw): boolean {
    const { endTokens, maxTokens } = answer.options
    const isGuessed = this.#speculation?.compare(draw.token, this.#ids.length - 1) ?? false
    this.#doubtful = Number.POSITIVE_INFINITY
    answer.queue.push(draw)
    answer.drawn += 1
    answer.isComplete = endTokens.has(draw.token) || answer.drawn >= maxTokens
    if (answer.isComplete) return false
    this.#ids.push(draw.token)
    if (isGuessed || this.#fed < this.#ids.length) return true
    this.#cut(this.#ids.length - 1) // something else has left in its place
    return false
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
    this.#speculation?.drop()
    this.#cut(Math.min(length, this.#doubtful, this.#ids.length - 1))
    this.#feed()
  }

  #cut(length: number): void {
    this.#epoch += 1
    this.#doubtful = Math.min(this.#doubtful, length)
    this.#fed = length
    this.#chain.entry.truncate(length)
  }

  /** Gives to the chain what has not left yet and has room: ids, and the guesses that there are behind them. */
  #feed(): void {
    const ids = this.#ids
    const answer = this.#answer
    const speculation = answer?.isComplete === false ? this.#speculation : undefined
    speculation?.draft({ ids, limit: this.#limit, endTokens: answer?.options.endTokens ?? new Set() })
    const guesses = speculation?.tokens ?? []
    const end = ids.length + guesses.length
    for (;;) {
      const position = this.#fed
      const { capacity } = this.#chain
      const next = nextWindow({ fed: position, certain: ids.length, end, capacity })
      if (next === undefined) break
      this.#fed += next.count
      const rows = [...ids.slice(position, this.#fed), ...guesses.slice(Math.max(0, position - ids.length))]
      const tokens = Int32Array.from(rows.slice(0, next.count))
      const { sample } = next
      const codec = 'none'
      this.#chain.entry.append({ epoch: this.#epoch, position, tokens, sample, codec, payload: NO_PAYLOAD })
      this.#chain.fed()
      if (sample !== 'none')
        speculation?.sent(position, Math.max(0, this.#fed - Math.max(position, ids.length)))
    }
    const isShort = this.#chain.capacity - end < STRETCH / 2
    if (answer !== undefined && isShort) this.#chain.extend(Math.min(this.#limit, end + STRETCH))
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
      if (sampler !== undefined) this.#speculation?.resample(sampler)
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
      this.#speculation?.rest()
      this.#answer = undefined
      this.#chain.rest()
    }
  }

  /** Sends what the stages don't have yet; at least the last row, whose logits give the first token. */
  #begin(tokens: Int32Array): void {
    let same = 0
    const limit = Math.min(tokens.length - 1, this.#fed)
    while (same < limit && this.#ids[same] === tokens[same]) same++
    // Also where nothing is cut: within an epoch, rows with guesses go on with what was drawn.
    if (this.#fed > 0) this.#cut(same)
    this.#ids = Array.from(tokens)
    this.#answersFrom = tokens.length
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

  get speculation(): SpeculationFigures | undefined {
    return this.#speculation?.figures
  }

  #fail(error: SessionError): void {
    this.#failure = error
    this.#answer?.wake()
  }

  /** The stages' last timings are in `figures` after that. */
  async close(): Promise<void> {
    this.#fail(new SessionError('CLOSED', 'The session was closed.'))
    await Promise.all([this.#chain.close(), this.#speculation?.close()])
  }
}

/** What frames cost all of them together, where each has told enough. */
function costOf(hops: readonly Hop[]): FrameCost | undefined {
  let sum = { frameMs: 0, rowMs: 0 }
  for (const { statistics } of hops) {
    const { cost } = statistics
    if (cost === undefined) return undefined
    sum = { frameMs: sum.frameMs + cost.frameMs, rowMs: sum.rowMs + cost.rowMs }
  }
  return sum
}

function withProgress({ code, message, hop }: SessionError, drawn: number): SessionError {
  return new SessionError(code, `${message} The answer had ${drawn} tokens.`, hop)
}
