/** Open sessions: each computes one answer at a time, and is kept for a while, since conversations go on. */
import type { Clock } from '../common/index.ts'
import type { SamplerOptions } from '../net/index.ts'
import type { ChainEvent, GenerateOptions, Session, SessionInit } from '../session/index.ts'
import { SessionError } from '../session/index.ts'
import type { ChainHop, Route } from '../swarm/index.ts'
import { AnswerError } from './errors.ts'

/** A person reads an answer and writes the next question; the nodes' memory is for others, too. */
const IDLE_MS = 60_000
/** Of all models together. */
const MOST_IDLE = 16
/** So much of a prompt has to be computed already, in tokens; less is as well done by a new session. */
const WORTH_KEEPING = 32
/** Positions reserved for the answer in the beginning; more are asked for on the way. */
const FIRST_STRETCH = 512
/** For places at stages that are full, once they were found full. */
const PLACE_MS = 10_000

export interface RouteRequest {
  readonly model: string
  readonly promptTokens: number
  readonly answerTokens: number
  readonly waitMs: number
  readonly signal: AbortSignal
}

/** How chains are found and opened. */
export interface Chains {
  /** Throws a NoChainError, a ShoalError NO_PEERS, or the signal's reason. */
  route(request: RouteRequest): Promise<Pick<Route, 'chain'>>
  /** See openSession. */
  open(init: SessionInit): Promise<Session>
  /** A hop has gone. */
  lost(peer: string): void
}

export interface ConversationRequest {
  readonly model: string
  readonly owner: string
  readonly tokens: Int32Array
  /** Default: what the context has room for. */
  readonly maxTokens: number | undefined
  readonly sampler: SamplerOptions
  /** For a chain, where there is none, in milliseconds. */
  readonly waitMs: number
  readonly onEvent: (event: ChainEvent) => void
  readonly signal: AbortSignal
}

/** A session while it answers. */
export interface Conversation {
  readonly session: Session
  /** Tokens of the prompt that are computed already. */
  readonly cachedTokens: number
  /** As many as the context has room for. */
  readonly maxTokens: number
  generate(options: Pick<GenerateOptions, 'endTokens' | 'signal' | 'onDraw'>): AsyncGenerator<number, void>
}

interface Kept {
  readonly model: string
  readonly owner: string
  readonly session: Session
  /** What the stages have computed. */
  ids: number[]
  onEvent: (event: ChainEvent) => void
  cancel: () => void
}

export class Conversations {
  readonly #chains: Chains
  readonly #clock: Clock
  /** Used longest ago first. */
  readonly #idle = new Set<Kept>()
  readonly #all = new Set<Kept>()

  constructor(chains: Chains, clock: Clock) {
    this.#chains = chains
    this.#clock = clock
  }

  /**
   * Runs `use` with the session that has computed most of the prompt, else a new one; what is thrown or left early
   * closes it. Throws an AnswerError TOO_LONG or BUSY, a NoChainError, a SessionError, or the signal's reason.
   */
  async *with<T>(
    request: ConversationRequest,
    use: (conversation: Conversation) => AsyncGenerator<T, void>
  ): AsyncGenerator<T, void> {
    const [kept, cachedTokens] = this.#known(request) ?? [await this.#open(request), 0]
    let isWhole = false
    try {
      this.#idle.delete(kept)
      kept.cancel()
      kept.onEvent = request.onEvent
      yield* use(conversationOf(kept, cachedTokens, request))
      isWhole = true
    } finally {
      if (isWhole) this.#keep(kept)
      else await this.#close(kept)
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#all].map((kept) => this.#close(kept)))
  }

  /** The most of the prompt, if it is worth it. */
  #known({ model, owner, tokens }: ConversationRequest): [Kept, number] | undefined {
    let best: [Kept, number] | undefined
    for (const kept of this.#idle) {
      if (kept.model !== model || kept.owner !== owner) continue
      const same = Math.min(sameFrom(kept.ids, tokens), tokens.length - 1)
      if (same >= Math.min(WORTH_KEEPING, tokens.length / 2) && same > (best?.[1] ?? 0)) best = [kept, same]
    }
    return best
  }

  async #open(request: ConversationRequest): Promise<Kept> {
    const { model, owner, tokens, maxTokens, sampler, waitMs, signal } = request
    const answerTokens = maxTokens ?? FIRST_STRETCH
    const { chain } = await this.#chains.route({
      ...{ model, promptTokens: tokens.length, answerTokens, waitMs, signal }
    })
    const room = roomIn(chain, tokens)
    const kept = { model, owner, ids: [], onEvent: request.onEvent, cancel: () => {} }
    const init = {
      ...{ chain, sampler, signal, onEvent: (event: ChainEvent) => this.#happened(kept, event) },
      reserve: tokens.length + Math.min(answerTokens, room, FIRST_STRETCH)
    }
    const session = await this.#chains.open({ ...init, waitMs: 0 }).catch(async (error: unknown) => {
      if (!(error instanceof SessionError) || error.code !== 'REFUSED') throw error
      await this.#closeIdle(model)
      return this.#chains.open({ ...init, waitMs: PLACE_MS })
    })
    const opened = Object.assign(kept, { session })
    this.#all.add(opened)
    return opened
  }

  #happened(kept: Pick<Kept, 'model' | 'onEvent'>, event: ChainEvent): void {
    if (event.type === 'lost') this.#chains.lost(event.hop.peer)
    if (event.type === 'waiting') void this.#closeIdle(kept.model)
    kept.onEvent(event)
  }

  /** Stages may be full of what nobody waits for. */
  async #closeIdle(model: string): Promise<void> {
    await Promise.all([...this.#idle].filter((one) => one.model === model).map((one) => this.#close(one)))
  }

  #keep(kept: Kept): void {
    this.#idle.add(kept)
    kept.onEvent = () => {}
    kept.cancel = this.#clock.after(IDLE_MS, () => void this.#close(kept))
    const [oldest] = this.#idle
    if (this.#idle.size > MOST_IDLE && oldest !== undefined) void this.#close(oldest)
  }

  async #close(kept: Kept): Promise<void> {
    kept.cancel()
    this.#idle.delete(kept)
    if (this.#all.delete(kept)) await kept.session.close()
  }
}

function conversationOf(
  kept: Kept,
  cachedTokens: number,
  { tokens, maxTokens, sampler }: ConversationRequest
): Conversation {
  const { session } = kept
  const room = roomIn(session.chain, tokens)
  const most = Math.min(maxTokens ?? room, room)
  return {
    ...{ session, cachedTokens, maxTokens: most },
    async *generate(options) {
      kept.ids = Array.from(tokens)
      for await (const token of session.generate(tokens, { ...options, sampler, maxTokens: most })) {
        kept.ids.push(token)
        yield token
      }
    }
  }
}

/** For the answer, in tokens. */
function roomIn(chain: readonly ChainHop[], { length }: Int32Array): number {
  const context = Math.min(...chain.map(({ stage }) => stage.context))
  if (length < context) return context - length
  const message = `The prompt has ${length} tokens, and the nodes have room for ${context}: shorten the conversation.`
  throw new AnswerError('TOO_LONG', message, { promptTokens: length, context })
}

function sameFrom(ids: readonly number[], tokens: Int32Array): number {
  let same = 0
  const most = Math.min(ids.length, tokens.length)
  while (same < most && ids[same] === tokens[same]) same++
  return same
}
