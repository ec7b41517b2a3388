/** From admission to the last event: one request of a program, which may be for several answers. */
import type { Context } from 'hono'
import type { AnswerEvent, AnswerRequest, Answers, Conversation, Usage } from '../../chat/index.ts'
import type { Admission, GatewayEnv } from '../env.ts'

/** Of the answer with this number. */
export interface Numbered {
  readonly index: number
  readonly event: AnswerEvent
}

/** Characters that wait for a slow reader before the answers wait, too: some seconds of them. */
const MAX_WAITING = 4_096
/** Of English and of code; what is counted in the end is the tokens that there were. */
const CHARACTERS_PER_TOKEN = 4

/** Ends, and frees everything, when it is stopped, the request's signal fires, or any of the answers fails. */
export class Inquiry {
  /** In the queue; undefined: not there. */
  position: number | undefined
  readonly #context: Context<GatewayEnv>
  readonly #answers: Answers
  readonly #waitMs: number | undefined
  readonly #requests: readonly AnswerRequest[]
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #used: Usage[] = []
  #waiting: Numbered[] = []
  #waitingSize = 0
  #isDone = false
  #failure: { readonly error: unknown } | undefined
  #changed = Promise.withResolvers<void>()

  constructor(
    context: Context<GatewayEnv>,
    components: { readonly answers: Answers; readonly waitMs?: number | undefined },
    requests: readonly AnswerRequest[]
  ) {
    this.#context = context
    this.#answers = components.answers
    this.#waitMs = components.waitMs
    this.#requests = requests
    this.#signal = AbortSignal.any([context.get('signal'), this.#stop.signal])
    this.#signal.addEventListener('abort', () => this.#fail(this.#signal.reason), { once: true })
    if (this.#signal.aborted) this.#fail(this.#signal.reason)
    void this.#run()
  }

  /** All that came since the last call, at least one event; undefined: that was all. Throws what the answers throw. */
  async next(): Promise<readonly Numbered[] | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#failure !== undefined) throw this.#failure.error
      if (this.#isDone) return undefined
      await this.#changed.promise
    }
    const events = this.#waiting
    this.#waiting = []
    this.#waitingSize = 0
    this.#notify()
    return events
  }

  stop(): void {
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    let admission: Admission | undefined
    try {
      admission = await this.#context.get('admit')({
        promptTokens: this.#requests.reduce((sum, { input }) => sum + estimate(input), 0),
        answers: this.#requests.length,
        onPosition: (position) => {
          this.position = position
        }
      })
      this.position = undefined
      await Promise.all(this.#requests.map((request, index) => this.#answer(request, index)))
    } catch (error) {
      this.#fail(error)
    } finally {
      admission?.release(this.#used)
      this.#isDone = true
      this.#notify()
    }
  }

  async #answer(request: AnswerRequest, index: number): Promise<void> {
    const { requestId: id, owner } = this.#context.var
    const options = { id, owner, signal: this.#signal, waitMs: this.#waitMs }
    try {
      if (this.#signal.aborted) return
      for await (const event of this.#answers.answer(request, options)) {
        this.#put(index, event)
        while (this.#waitingSize > MAX_WAITING && this.#failure === undefined) await this.#changed.promise
        if (this.#failure !== undefined) return
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Texts that follow each other become one, so that a slow reader gets few events. */
  #put(index: number, event: AnswerEvent): void {
    if (event.type === 'end') this.#used.push(event.usage)
    if ('text' in event) this.#waitingSize += event.text.length + 1
    const last = this.#waiting.at(-1)
    const both = last?.index === index ? together(last.event, event) : undefined
    if (both === undefined) this.#waiting.push({ index, event })
    else this.#waiting[this.#waiting.length - 1] = { index, event: both }
    this.#notify()
  }

  /** The first failure is the one that is told. */
  #fail(error: unknown): void {
    if (this.#isDone) return
    this.#failure ??= { error }
    this.#stop.abort()
    this.#notify()
  }

  #notify(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}

function together(a: AnswerEvent, b: AnswerEvent): AnswerEvent | undefined {
  if (a.type === 'text' && b.type === 'text') {
    return { type: 'text', text: a.text + b.text, logs: [...a.logs, ...b.logs] }
  }
  if (a.type === 'reasoning' && b.type === 'reasoning') return { type: 'reasoning', text: a.text + b.text }
  if (a.type === 'arguments' && b.type === 'arguments' && a.index === b.index) {
    return { ...a, text: a.text + b.text }
  }
  return undefined
}

function estimate(input: AnswerRequest['input']): number {
  if (input.kind === 'conversation') return Math.ceil(charactersOf(input) / CHARACTERS_PER_TOKEN)
  const { prompt } = input
  return typeof prompt === 'string' ? Math.ceil(prompt.length / CHARACTERS_PER_TOKEN) : prompt.length
}

function charactersOf({ messages, tools }: Conversation): number {
  const texts = messages.reduce((sum, { text }) => sum + text.length, 0)
  return texts + (tools.length > 0 ? JSON.stringify(tools).length : 0)
}
