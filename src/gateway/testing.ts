/** For tests of the gateway: answers as a script gives them, and what middleware would have set. */
import { Hono } from 'hono'
import {
  AnswerError,
  type AnswerEvent,
  type AnswerOptions,
  type AnswerRequest,
  type Answers,
  type DrawnLog,
  type ModelCard
} from '../chat/index.ts'
import type { Clock } from '../common/index.ts'
import { ManualClock } from '../swarm/testing-clock.ts'
import { type DialectInit, dialects } from './dialects/index.ts'
import type { Admission, AdmissionCost, GatewayEnv } from './env.ts'

export type Script = (request: AnswerRequest, options: AnswerOptions) => AsyncIterable<AnswerEvent>

export const CARD: ModelCard = {
  id: 'a'.repeat(64),
  name: 'demo/tiny',
  aliases: ['tiny'],
  blockCount: 4,
  context: 512,
  isCovered: true,
  missing: [],
  nodes: 3
}

/** Answers whatever its script says, right or wrong, and remembers what it was asked. */
export class ScriptedAnswers implements Answers {
  readonly asked: AnswerRequest[] = []
  /** Answers that are being computed now. */
  running = 0
  readonly #script: Script
  readonly #cards: readonly ModelCard[]

  constructor(script: Script, cards: readonly ModelCard[] = [CARD]) {
    this.#script = script
    this.#cards = cards
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async models(): Promise<readonly ModelCard[]> {
    return this.#cards
  }

  async model(name: string): Promise<ModelCard> {
    const card = this.#cards.find((each) => [each.id, each.name, ...each.aliases].includes(name))
    if (card === undefined) throw new AnswerError('UNKNOWN_MODEL', `nobody knows the model ${name}`)
    return card
  }

  async count(request: Pick<AnswerRequest, 'model' | 'input' | 'format'>): Promise<number> {
    await this.model(request.model)
    return JSON.stringify(request.input).length
  }

  async *answer(request: AnswerRequest, options: AnswerOptions): AsyncGenerator<AnswerEvent, void> {
    this.asked.push(request)
    this.running++
    try {
      await this.model(request.model)
      yield* this.#script(request, options)
    } finally {
      this.running--
    }
  }
}

export const START: AnswerEvent = { type: 'start', model: CARD.name, promptTokens: 7, hops: [] }

export function textEvent(text: string, logs: readonly DrawnLog[] = []): AnswerEvent {
  return { type: 'text', text, logs }
}

type End = Extract<AnswerEvent, { type: 'end' }>

export function endEvent(reason: End['reason'] = 'stop', stop?: string): AnswerEvent {
  return {
    type: 'end',
    reason,
    stop,
    usage: { promptTokens: 7, cachedTokens: 3, answerTokens: 5, reasoningTokens: 2 },
    timings: { templateMs: 1, tokenizeMs: 1, chainMs: 2, firstTokenMs: 3, decodeMs: 4 },
    guesses: { guessed: 6, right: 4 },
    hops: [{ peer: 'a', start: 0, end: 4, queueMs: 1, computeMs: 2, bytesOut: 3 }]
  }
}

/** Just these events. */
export function play(...events: readonly AnswerEvent[]): Script {
  return async function* () {
    yield* events
  }
}

export interface TestGatewayInit extends DialectInit {
  readonly clock?: Clock
  readonly admit?: (cost: AdmissionCost) => Promise<Admission>
}

/** The dialects' routes, without guards, limits or a socket. */
export class TestGateway {
  readonly app = new Hono<GatewayEnv>()
  readonly answers: ScriptedAnswers
  /** Fires as if the client were gone. */
  readonly gone = new AbortController()
  readonly logged: unknown[] = []
  admitted = 0
  released = 0

  constructor(script: Script | ScriptedAnswers, init: TestGatewayInit = {}) {
    this.answers = script instanceof ScriptedAnswers ? script : new ScriptedAnswers(script)
    this.app.use(async (c, next) => {
      c.set('requestId', 'req-1')
      c.set('owner', 'somebody')
      c.set('signal', this.gone.signal)
      c.set('admit', init.admit ?? (async () => this.#admit()))
      await next()
    })
    const { clock = new ManualClock() } = init
    const log = (_: string, error: unknown): number => this.logged.push(error)
    this.app.route('/', dialects({ answers: this.answers, clock, log }, init))
  }

  async post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    return this.app.request(path, { method: 'POST', body: text, headers })
  }

  #admit(): Admission {
    this.admitted++
    return { release: () => this.released++ }
  }
}

export interface SentEvent {
  readonly name: string | undefined
  /** Parsed JSON, or `[DONE]`. */
  readonly data: unknown
}

/** The events of a stream, without comments. */
export async function sentEvents(response: Response): Promise<readonly SentEvent[]> {
  return parseEvents(await response.text())
}

export function parseEvents(text: string): readonly SentEvent[] {
  const blocks = text.split('\n\n').filter((block) => block !== '' && !block.startsWith(':'))
  return blocks.map((block) => {
    const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/s, 2) as [string, string]))
    const data = fields.get('data') ?? ''
    return { name: fields.get('event'), data: data === '[DONE]' ? data : JSON.parse(data) }
  })
}
