/** Answers that are watched on their way: metrics, the request's record, and what its owner has used. */
import type { AnswerEvent, AnswerOptions, AnswerRequest, Answers, Usage } from '../chat/index.ts'
import type { Clock } from '../common/index.ts'
import { toGatewayError } from './errors.ts'
import type { Metrics } from './metrics.ts'
import type { Pending } from './record.ts'

export interface ObservedComponents {
  readonly answers: Answers
  readonly clock: Clock
  readonly metrics: Metrics
  /** The request that an id belongs to. */
  readonly pending: (id: string) => Pending | undefined
  /** Tokens of an answer, as they come. */
  readonly spend: (id: string, tokens: number) => void
}

export class ObservedAnswers implements Answers {
  readonly #components: ObservedComponents
  /** Tokens of answers, since the start. */
  tokens = 0

  constructor(components: ObservedComponents) {
    this.#components = components
  }

  start(): Promise<void> {
    return this.#components.answers.start()
  }

  stop(): Promise<void> {
    return this.#components.answers.stop()
  }

  models(): ReturnType<Answers['models']> {
    return this.#components.answers.models()
  }

  model(name: string): ReturnType<Answers['model']> {
    return this.#components.answers.model(name)
  }

  count(...parameters: Parameters<Answers['count']>): ReturnType<Answers['count']> {
    return this.#components.answers.count(...parameters)
  }

  async *answer(request: AnswerRequest, options: AnswerOptions): AsyncGenerator<AnswerEvent, void> {
    const watch = new Watch(this.#components, options.id, (tokens) => {
      this.tokens += tokens
    })
    try {
      for await (const event of this.#components.answers.answer(request, options)) {
        watch.see(event)
        yield event
      }
    } catch (error) {
      watch.outcome = toGatewayError(error).code.toLowerCase()
      throw error
    } finally {
      watch.end()
    }
  }
}

class Watch {
  /** What it is when its reader leaves before its end. */
  outcome = 'gone'
  readonly #components: ObservedComponents
  readonly #id: string
  readonly #pending: Pending | undefined
  readonly #count: (tokens: number) => void
  readonly #chain: string[] = []
  #model = ''
  #drawn = 0
  #lastAt: number | undefined
  #firstAt: number | undefined
  #end: Extract<AnswerEvent, { type: 'end' }> | undefined

  constructor(components: ObservedComponents, id: string, count: (tokens: number) => void) {
    this.#components = components
    this.#id = id
    this.#pending = components.pending(id)
    this.#count = count
  }

  see(event: AnswerEvent): void {
    switch (event.type) {
      case 'start':
        this.#model = event.model
        break
      case 'text':
        this.#token(Math.max(event.logs.length, 1))
        break
      case 'reasoning':
      case 'arguments':
        this.#token(1)
        break
      case 'chain':
        this.#chain.push(event.change)
        this.#components.metrics.chainEvents.inc({ change: event.change })
        break
      case 'end':
        this.#end = event
        this.outcome = event.reason
        this.#spend(event.usage.answerTokens - this.#drawn)
    }
  }

  /** Some events have several tokens, or none of their own: the end corrects what was counted. */
  #token(count: number): void {
    const { clock, metrics } = this.#components
    const now = clock.now()
    if (this.#lastAt !== undefined) metrics.gapSeconds.observe((now - this.#lastAt) / 1000)
    else if (this.#pending !== undefined) {
      this.#firstAt = now
      metrics.firstTokenSeconds.observe((now - this.#pending.since) / 1000)
    }
    this.#lastAt = now
    this.#drawn += count
    this.#spend(count)
  }

  #spend(tokens: number): void {
    this.#count(tokens)
    this.#components.spend(this.#id, tokens)
  }

  end(): void {
    const { metrics } = this.#components
    const [model, pending, end] = [this.#model, this.#pending, this.#end]
    metrics.answers.inc({ model, outcome: this.outcome })
    if (end !== undefined) this.#observe(end)
    pending?.answers.push({
      ...{ model, outcome: this.outcome, chain: this.#chain, hops: end?.hops ?? [] },
      ...{ usage: end?.usage, timings: end?.timings },
      firstTokenMs: this.#firstAt === undefined ? undefined : this.#firstAt - pending.since
    })
  }

  #observe({ usage, timings }: Extract<AnswerEvent, { type: 'end' }>): void {
    const { metrics } = this.#components
    for (const [kind, tokens] of Object.entries(kinds(usage))) {
      metrics.tokens.inc({ model: this.#model, kind }, Math.max(tokens, 0))
    }
    for (const [name, ms] of Object.entries(timings)) {
      metrics.spanSeconds.observe({ span: name.replace(/Ms$/, '') }, ms / 1000)
    }
  }
}

/** Each token once. */
function kinds(usage: Usage): Record<string, number> {
  const { promptTokens, cachedTokens, answerTokens, reasoningTokens } = usage
  return {
    ...{ prompt: promptTokens - cachedTokens, cached: cachedTokens },
    ...{ answer: answerTokens - reasoningTokens, reasoning: reasoningTokens }
  }
}
