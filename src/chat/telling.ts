/** One answer: tokens as a session draws them, told as text, reasoning, calls, and what happens to the chain. */
import type { ChainEvent, Draw, Session } from '../session/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import type { AnswerEvent, AnswerRequest, DrawnLog, Guessed, HopReport, TokenLog, Usage } from './contract.ts'
import type { Conversation } from './conversations.ts'
import type { Inbox } from './inbox.ts'
import type { ModelText, Prompt } from './model-text.ts'
import { AnswerParser, type Part } from './parser.ts'

export type Arrival = { readonly draw: Draw; readonly at: number } | { readonly event: ChainEvent }

export interface TellingInit {
  readonly card: { readonly name: string }
  readonly text: ModelText
  readonly prompt: Prompt
  readonly request: AnswerRequest
  /** What happens to the chain is put in by others. */
  readonly inbox: Inbox<Arrival>
  /** To find and open it. */
  readonly chainMs: number
  readonly newId: () => string
  readonly signal: AbortSignal
}

/** Throws what a session throws, or the signal's reason. */
export async function* tell(
  conversation: Conversation,
  init: TellingInit
): AsyncGenerator<AnswerEvent, void> {
  const { card, text, prompt, request, inbox, newId } = init
  const { session, cachedTokens } = conversation
  const promptTokens = prompt.tokens.length
  yield { type: 'start', model: card.name, promptTokens, hops: hopsOf(session) }
  const parser = new AnswerParser(prompt.syntax, { stop: request.stop, newId })
  const teller = new Teller(text, parser, prompt.syntax.needsSpecials)
  const done = new AbortController()
  let waitsFor: string | undefined
  const startedAt = performance.now()
  const before = session.speculation
  const drawn = draw(conversation, text.endTokens, inbox, AbortSignal.any([init.signal, done.signal]))
  try {
    for await (const arrival of inbox) {
      if ('draw' in arrival) yield* teller.tell(arrival.draw, arrival.at)
      else if (arrival.event.type !== 'waiting') yield chainEvent(arrival.event)
      else if (waitsFor !== arrival.event.reason) {
        waitsFor = arrival.event.reason // said once, however often somebody is looked for
        yield chainEvent(arrival.event)
      }
      if (parser.stopped !== undefined) break
    }
  } finally {
    done.abort()
    await drawn
  }
  yield* teller.end()
  const { firstAt, lastAt, answerTokens, reasoningTokens } = teller
  const isStopped = teller.hasEnded || parser.stopped !== undefined
  yield {
    type: 'end',
    reason: !isStopped ? 'length' : parser.calls > 0 ? 'calls' : 'stop',
    stop: parser.stopped,
    usage: { promptTokens, cachedTokens, answerTokens, reasoningTokens } satisfies Usage,
    timings: {
      ...{ templateMs: prompt.templateMs, tokenizeMs: prompt.tokenizeMs, chainMs: init.chainMs },
      firstTokenMs: (firstAt ?? startedAt) - startedAt,
      decodeMs: (lastAt ?? startedAt) - (firstAt ?? startedAt)
    },
    guesses: guessesSince(before, session),
    hops: hopsOf(session)
  }
}

function guessesSince(before: Session['speculation'], { speculation }: Session): Guessed | undefined {
  if (speculation === undefined) return undefined
  const { sent, right } = speculation
  return { guessed: sent - (before?.sent ?? 0), right: right - (before?.right ?? 0) }
}

/** Resolves when the session is free again; never rejects. */
async function draw(
  conversation: Conversation,
  endTokens: ReadonlySet<number>,
  inbox: Inbox<Arrival>,
  signal: AbortSignal
): Promise<void> {
  try {
    const onDraw = (drawn: Draw): void => inbox.push({ draw: drawn, at: performance.now() })
    for await (const _ of conversation.generate({ endTokens, signal, onDraw }));
    inbox.end()
  } catch (error) {
    inbox.end({ error })
  }
}

type TokenDraw = NonNullable<Draw['alternatives']>[number]

/** Tokens to events. */
class Teller {
  hasEnded = false
  answerTokens = 0
  reasoningTokens = 0
  firstAt: number | undefined
  lastAt: number | undefined
  readonly #text: ModelText
  readonly #parser: AnswerParser
  readonly #needsSpecials: boolean
  readonly #decoder = new TextDecoder()
  /** Of tokens whose text has not been told yet. */
  #logs: DrawnLog[] = []

  constructor(text: ModelText, parser: AnswerParser, needsSpecials: boolean) {
    this.#text = text
    this.#parser = parser
    this.#needsSpecials = needsSpecials
  }

  async *tell({ token, log, alternatives = [] }: Draw, at: number): AsyncGenerator<AnswerEvent, void> {
    this.lastAt = at
    this.firstAt ??= at
    this.answerTokens += 1
    this.hasEnded = this.#text.endTokens.has(token)
    if (this.hasEnded) return
    if (log !== undefined) this.#logs.push(await this.#logOf(token, log, alternatives))
    const bytes = await this.#text.bytesOf(token, this.#needsSpecials)
    const parts = this.#parser.push(this.#decoder.decode(bytes, { stream: true }))
    if (parts.some(({ type }) => type === 'reasoning')) this.reasoningTokens += 1
    yield* this.#events(parts)
  }

  *end(): Generator<AnswerEvent, void> {
    const rest = this.#decoder.decode()
    yield* this.#events([...(rest === '' ? [] : this.#parser.push(rest)), ...this.#parser.end()])
  }

  *#events(parts: readonly Part[]): Generator<AnswerEvent, void> {
    for (const part of parts) {
      if (part.type !== 'text') yield part
      else yield { ...part, logs: this.#logs, at: this.lastAt }
      this.#logs = []
    }
  }

  async #logOf(token: number, log: number, alternatives: readonly TokenDraw[]): Promise<DrawnLog> {
    const named = async (id: number, logProbability: number): Promise<TokenLog> => ({
      ...{ token: id, bytes: await this.#text.bytesOf(id, true), logProbability }
    })
    const others = alternatives.map((other) => named(other.token, other.log))
    return { ...(await named(token, log)), alternatives: await Promise.all(others) }
  }
}

function hopsOf(session: Session): HopReport[] {
  return session.figures.map(({ queueMs, computeMs, bytesOut }, index) => {
    const { peer, start, end } = session.chain[index] as ChainHop
    return { peer, start, end, queueMs, computeMs, bytesOut }
  })
}

function chainEvent(event: ChainEvent): AnswerEvent {
  return { type: 'chain', change: event.type, message: inWords(event) }
}

function inWords(event: ChainEvent): string {
  switch (event.type) {
    case 'lost':
      return `lost ${placeOf(event.hop)}: ${event.reason}`
    case 'leaving':
      return `${placeOf(event.hop)} is leaving`
    case 'relayed':
      return `${placeOf(event.hop)} is reached through this machine now`
    case 'waiting':
      return `waiting, since there is ${event.reason}`
    case 'repaired':
      return `going on with ${event.hops.map(placeOf).join(', ')}`
  }
}

/** The end of a peer id differs between nodes; its beginning does not. */
function placeOf({ start, end, peer }: ChainHop): string {
  return `blocks ${start}-${end} at ${peer.slice(-8)}`
}
