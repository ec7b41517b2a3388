/** What one owner may use: requests and tokens per minute. How much at once is the queue's matter. */
import { RateLimiterMemory } from 'rate-limiter-flexible'
import { GatewayError } from './errors.ts'

/** Of one key or one address; what is undefined has no limit. */
export interface OwnerLimits {
  readonly requestsPerMinute?: number | undefined
  /** Of prompts and answers together. */
  readonly tokensPerMinute?: number | undefined
  /** Answers at once; more of them wait. */
  readonly concurrency?: number | undefined
  /** Requests that wait at once. Default: four times the concurrency. */
  readonly waiting?: number | undefined
}

/** Counts what was used within a time that begins with the first use: each store of rate-limiter-flexible does. */
export interface Limiter {
  penalty(key: string, points: number): Promise<{ consumedPoints: number; msBeforeNext: number }>
}

/** By default in memory; gateways that share limits give each `RateLimiterRedis({ keyPrefix: name, duration: seconds })`. */
export type LimiterFactory = (name: string, seconds: number) => Limiter

const WINDOW_SECONDS = 60
const WAITING_PER_ANSWER = 4

const inMemory: LimiterFactory = (keyPrefix, duration) =>
  new RateLimiterMemory({ keyPrefix, duration, points: Number.MAX_SAFE_INTEGER })

export class Meter {
  readonly #requests: Limiter
  readonly #tokens: Limiter

  constructor(create: LimiterFactory = inMemory) {
    this.#requests = create('requests', WINDOW_SECONDS)
    this.#tokens = create('tokens', WINDOW_SECONDS)
  }

  /** Counts a request. Throws a GatewayError LIMITED. */
  async request(owner: string, { requestsPerMinute: limit }: OwnerLimits): Promise<void> {
    if (limit === undefined) return
    const { consumedPoints, msBeforeNext } = await this.#requests.penalty(owner, 1)
    if (consumedPoints > limit) {
      throw limited(`you may send ${limit} requests per minute: try again later`, msBeforeNext)
    }
  }

  /** Counts a prompt, whose size is an estimate. Throws a GatewayError LIMITED, and has counted nothing. */
  async prompt(owner: string, { tokensPerMinute: limit }: OwnerLimits, tokens: number): Promise<void> {
    if (limit === undefined) return
    if (tokens > limit) {
      const size = `the prompt has about ${tokens} tokens`
      throw limited(`${size}, and you may use ${limit} per minute: send less`, WINDOW_SECONDS * 1000)
    }
    const used = await this.#tokens.penalty(owner, tokens)
    if (used.consumedPoints <= limit) return
    await this.#tokens.penalty(owner, -tokens)
    throw limited(`you may use ${limit} tokens per minute: try again later`, used.msBeforeNext)
  }

  /** Counts tokens as they come; below 0: what was counted too much. Answers go on: the next request has to wait. */
  async tokens(owner: string, { tokensPerMinute: limit }: OwnerLimits, tokens: number): Promise<void> {
    if (limit !== undefined && tokens !== 0) await this.#tokens.penalty(owner, tokens)
  }
}

function limited(message: string, ms: number): GatewayError {
  return new GatewayError('LIMITED', message, { retryAfterSeconds: Math.max(1, Math.ceil(ms / 1000)) })
}

export function waitingOf({ concurrency, waiting }: OwnerLimits): number | undefined {
  return waiting ?? (concurrency === undefined ? undefined : concurrency * WAITING_PER_ANSWER)
}
