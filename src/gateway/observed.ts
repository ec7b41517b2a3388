/** Answers that are watched on their way: metrics, the request's record, and what its owner has used. */
import type { AnswerEvent, AnswerOptions, AnswerRequest, Answers, Usage } from '../chat/index.ts'
import type { Clock } from '../common/index.ts'
import { toGatewayError } from './errors.ts'
import type { Metrics } from './metrics.ts'
import type { AnswerRecord } from './record.ts'
import type { Pending } from './requests.ts'

export interface ObservedComponents {
  readonly answers: Answers
  readonly clock: Clock
  readonly metrics: Metrics
  /** The request that an id belongs to. */
  readonly pending: (id: string) => Pending | undefined
  /** Tokens of an answer, as they come. */
  readonly spend: (id: string, tokens: number) => void
}

/** So long back a rate looks: some seconds, as people watch it. */
const RATE_MS = 5_000

export class ObservedAnswers implements Answers {
  readonly #components: ObservedComponents
  /** Tokens that count less and less as they grow older. */
  #recent = 0
  #recentAt = 0

  constructor(components: ObservedComponents) {
    this.#components = components
  }

  /** Of all answers, over the last seconds. */
  get tokensPerSecond(): number {
    this.#drawn(0)
    return Math.round((this.#recent / RATE_MS) * 1000 * 10) / 10
  }

  #drawn(tokens: number): void {
    const now = this.#components.clock.now()
    this.#recent = this.#recent * Math.exp((this.#recentAt - now) / RATE_MS) + tokens
    this.#recentAt = now
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
    const watch = new Watch(this.#components, options.id, (tokens) => this.#drawn(tokens))
    try {
      for await (const event of this.#components.answers.answer(request, options)) {
        watch.see(event)
        yield event
      }
    } catch (error) {
      watch.failed(error)
      throw error
    } finally {
      watch.end()
    }
  }
}

class Watch {
  readonly #components: ObservedComponents
  readonly #id: string
  readonly #since: number | undefined
  readonly #count: (tokens: number) => void
  /** `gone` is what it is when its reader leaves before its end. */
  readonly #record: AnswerRecord = { model: '', outcome: 'gone', tokens: 0, hops: [], chain: [] }
  #lastAt: number | undefined

  constructor(components: ObservedComponents, id: string, count: (tokens: number) => void) {
    this.#components = components
    this.#id = id
    this.#count = count
    const pending = components.pending(id)
    pending?.answers.push(this.#record)
    this.#since = pending?.since
  }

  see(event: AnswerEvent): void {
    const record = this.#record
    switch (event.type) {
      case 'start':
        record.model = event.model
        record.hops = event.hops
        break
      case 'text':
        this.#token(Math.max(event.logs.length, 1))
        break
      case 'reasoning':
      case 'arguments':
        this.#token(1)
        break
      case 'chain':
        record.chain.push(event.change)
        this.#components.metrics.chainEvents.inc({ change: event.change })
        break
      case 'end': {
        const { reason: outcome, usage, timings, guesses, hops } = event
        this.#spend(usage.answerTokens - record.tokens)
        Object.assign(record, { outcome, usage, timings, guesses, hops })
        this.#observe(event)
      }
    }
  }

  /** Some events have several tokens, or none of their own: the end corrects what was counted. */
  #token(count: number): void {
    const { clock, metrics } = this.#components
    const now = clock.now()
    if (this.#lastAt !== undefined) metrics.gapSeconds.observe((now - this.#lastAt) / 1000)
    else if (this.#since !== undefined) {
      this.#record.firstTokenMs = now - this.#since
      metrics.firstTokenSeconds.observe(this.#record.firstTokenMs / 1000)
    }
    this.#lastAt = now
    this.#spend(count)
  }

  #spend(tokens: number): void {
    this.#record.tokens += tokens
    this.#count(tokens)
    this.#components.spend(this.#id, tokens)
  }

  failed(error: unknown): void {
    this.#record.outcome = toGatewayError(error).code.toLowerCase()
  }

  end(): void {
    const { model, outcome } = this.#record
    this.#components.metrics.answers.inc({ model, outcome })
  }

  #observe({ usage, timings, guesses }: Extract<AnswerEvent, { type: 'end' }>): void {
    const { metrics } = this.#components
    if (guesses !== undefined) {
      const { model } = this.#record
      metrics.guesses.inc({ model, kind: 'right' }, guesses.right)
      metrics.guesses.inc({ model, kind: 'wrong' }, Math.max(guesses.guessed - guesses.right, 0))
    }
    for (const [kind, tokens] of Object.entries(kinds(usage))) {
      metrics.tokens.inc({ model: this.#record.model, kind }, Math.max(tokens, 0))
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
