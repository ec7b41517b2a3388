/** One answer on its way: events in, a message that grows out, once per picture. */
import {
  type CompleteOptions,
  CompletionError,
  type CompletionEvent,
  type CompletionRequest
} from '../api/completions.ts'
import type { Message, Report } from './messages.ts'
import { rateOf, TokenRate } from './rate.ts'

/** What it does now. */
export interface Progress {
  readonly phase: 'sending' | 'queued' | 'reading' | 'thinking' | 'writing' | 'repairing'
  /** In the queue, from 1. */
  readonly position?: number | undefined
  /** When this phase began, in milliseconds since 1970. */
  readonly since: number
}

export interface AnswerInit {
  readonly request: CompletionRequest
  readonly complete: (
    request: CompletionRequest,
    options: Pick<CompleteOptions, 'signal'>
  ) => AsyncIterable<CompletionEvent>
  readonly now: () => number
  readonly nextFrame: (work: () => void) => void
  /** At most once per picture; the last one is not `answering` any more. */
  readonly onChange: (message: Message) => void
}

export interface Answer {
  readonly id: string
  readonly progress: Progress
  /** Tokens per second, lately. */
  readonly rate: number | undefined
  stop(): void
}

export function startAnswer(begun: Message, init: AnswerInit): Answer {
  return new GrowingAnswer(begun, init)
}

class GrowingAnswer implements Answer {
  readonly #init: AnswerInit
  readonly #startedAt: number
  readonly #abort = new AbortController()
  readonly #rate = new TokenRate()
  #message: Message
  #report: Report = { changes: [] }
  #progress: Progress
  #reasoningSince: number | undefined
  #isScheduled = false

  constructor(begun: Message, init: AnswerInit) {
    this.#init = init
    this.#message = begun
    this.#startedAt = init.now()
    this.#progress = { phase: 'sending', since: this.#startedAt }
    void this.#run()
  }

  get id(): string {
    return this.#message.id
  }

  get progress(): Progress {
    return this.#progress
  }

  get rate(): number | undefined {
    return this.#rate.at(this.#init.now())
  }

  stop(): void {
    this.#abort.abort()
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort
    let end: Partial<Message> = { state: 'done' }
    try {
      for await (const event of this.#init.complete(this.#init.request, { signal })) {
        if (signal.aborted) break
        this.#take(event)
        this.#changed()
      }
    } catch (error) {
      if (!signal.aborted) end = { state: 'failed', failure: this.#failureOf(error) }
    }
    if (signal.aborted) end = { state: 'stopped' }
    this.#stopThinking()
    this.#message = { ...this.#message, ...end, report: this.#report }
    this.#init.onChange(this.#message)
  }

  #take(event: CompletionEvent): void {
    if (event.type === 'queued') this.#goTo('queued', event.position)
    if (event.type === 'start') this.#goTo('reading')
    if (event.type === 'chain') {
      const { change, message } = event
      this.#report = { ...this.#report, changes: [...this.#report.changes, { change, message }] }
      if (change === 'lost' || change === 'waiting') this.#goTo('repairing')
    }
    if (event.type === 'reasoning') {
      this.#token('thinking')
      this.#reasoningSince ??= this.#init.now()
      this.#message = { ...this.#message, reasoning: (this.#message.reasoning ?? '') + event.text }
    }
    if (event.type === 'text') {
      this.#token('writing')
      this.#stopThinking()
      this.#message = { ...this.#message, text: this.#message.text + event.text }
    }
    if (event.type === 'end') this.#report = { ...this.#report, end: event.reason }
    if (event.type === 'report') {
      const { usage, hops, timings } = event
      this.#report = { ...this.#report, usage, hops, tokensPerSecond: rateOf(usage, timings) }
    }
  }

  #token(phase: 'thinking' | 'writing'): void {
    const now = this.#init.now()
    this.#rate.add(now)
    this.#goTo(phase)
    if (this.#report.firstTokenMs === undefined) {
      this.#report = { ...this.#report, firstTokenMs: now - this.#startedAt }
    }
  }

  #goTo(phase: Progress['phase'], position?: number): void {
    const { phase: before, since } = this.#progress
    this.#progress = { phase, position, since: phase === before ? since : this.#init.now() }
  }

  #stopThinking(): void {
    if (this.#reasoningSince === undefined || this.#message.reasoningMs !== undefined) return
    this.#message = { ...this.#message, reasoningMs: this.#init.now() - this.#reasoningSince }
  }

  #changed(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#init.nextFrame(() => {
      this.#isScheduled = false
      if (this.#message.state !== 'answering') return
      this.#message = { ...this.#message, report: this.#report }
      this.#init.onChange(this.#message)
    })
  }

  #failureOf(error: unknown): Message['failure'] {
    if (!(error instanceof CompletionError)) return { code: 'unknown', message: String(error) }
    const { code, message, retryAfterSeconds } = error
    const retryAt = retryAfterSeconds === undefined ? undefined : this.#init.now() + retryAfterSeconds * 1_000
    return { code, message, retryAt }
  }
}
