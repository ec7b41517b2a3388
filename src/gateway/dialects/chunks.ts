/** Streams of OpenAI's older dialects: chunks that have a choice each, and one in the end that has none. */
import type { GatewayError } from '../errors.ts'
import { openaiError } from './failures.ts'
import { detailsOf, headOf, usageOf } from './openai.ts'
import type { Exchange } from './route.ts'
import { type Renderer, type Saying, sse } from './sse.ts'
import { ended, totalUsage, Whole } from './whole.ts'

export interface ChunksInit {
  /** Of ids. */
  readonly prefix: string
  readonly object: string
  /** Until the answer says what it is called. */
  readonly model: string
  readonly prompts: number
  /** How many answers a prompt has. */
  readonly each: number
  readonly hasUsage: boolean
}

export abstract class Chunks implements Renderer {
  readonly #init: ChunksInit
  readonly #hasDetails: boolean
  #head: ReturnType<typeof headOf>
  /** Of texts they keep nothing: an answer may be long. */
  readonly #wholes: readonly Whole[]

  constructor(init: ChunksInit, exchange: Exchange) {
    this.#init = init
    this.#hasDetails = exchange.hasDetails
    this.#head = headOf(init.prefix, init.object, init.model, exchange.wall)
    this.#wholes = Array.from({ length: init.prompts * init.each }, () => new Whole())
  }

  /** The choice that says this, without its index; undefined: it can't be said. */
  protected abstract choice(event: Saying, index: number): object | undefined

  event(event: Saying, index: number): string {
    if (event.type === 'start') this.#head = { ...this.#head, model: event.model }
    if (event.type === 'start' || event.type === 'end') this.#wholes[index]?.add(event)
    const choice = this.choice(event, index)
    if (choice === undefined) return ''
    const usage = this.#init.hasUsage && { usage: null }
    return sse({ ...this.#head, choices: [{ index, ...choice }], ...usage })
  }

  end(): string {
    const wholes = this.#wholes.map(ended)
    const usage = this.#init.hasUsage && { usage: usageOf(totalUsage(wholes, this.#init.each)) }
    const shoal = this.#hasDetails && { shoal: detailsOf(wholes) }
    const last = usage || shoal ? sse({ ...this.#head, choices: [], ...usage, ...shoal }) : ''
    return `${last}data: [DONE]\n\n`
  }

  failure(error: GatewayError): string {
    return sse(openaiError(error))
  }
}
