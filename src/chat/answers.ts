import type { Clock } from '../common/index.ts'
import { ShoalError } from '../common/index.ts'
import { type ChainEvent, defaultSampler, SessionError } from '../session/index.ts'
import { NoChainError } from '../swarm/index.ts'
import type { AnswerEvent, AnswerOptions, AnswerRequest, Answers, ModelCard, Sampling } from './contract.ts'
import { type Chains, Conversations } from './conversations.ts'
import { AnswerError } from './errors.ts'
import { Inbox } from './inbox.ts'
import { ModelText, type Vocabulary } from './model-text.ts'
import { cardNamed, cardsOf, type ModelNames } from './models.ts'
import { type Arrival, tell } from './telling.ts'

/** Vocabularies in memory: 100 MB for the largest. */
const MOST_TEXTS = 8
/** Tokens that penalties look back at: OpenAI's look at the whole text, llama.cpp's default at 64. */
const PENALTY_LAST = 1_024
/** When to ask again for a model that lacks blocks: nodes that could host them look every half minute. */
const RETRY_COVERED_SECONDS = 30
const RETRY_BUSY_SECONDS = 5
const RETRY_ADVICE = 'Try again soon, or host them: "shoal up --model NAME" on another machine.'

export interface AnswersComponents {
  readonly models: ModelSource
  readonly chains: Chains
  readonly clock: Clock
  /** From 0 to 1: seeds and the names of calls. */
  readonly random: () => number
}

export interface ModelSource extends ModelNames {
  /** What is needed to talk to a model; fetched where it is not here. */
  vocabulary(id: string, signal: AbortSignal): Promise<Vocabulary>
}

export function createAnswers(components: AnswersComponents): Answers {
  return new ChainAnswers(components)
}

class ChainAnswers implements Answers {
  readonly #components: AnswersComponents
  readonly #conversations: Conversations
  /** By model id, used longest ago first. */
  readonly #texts = new Map<string, Promise<ModelText>>()
  readonly #life = new AbortController()

  constructor(components: AnswersComponents) {
    this.#components = components
    this.#conversations = new Conversations(components.chains, components.clock)
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#life.abort()
    await this.#conversations.stop()
    await Promise.all([...this.#texts.values()].map(stopped))
  }

  models(): Promise<readonly ModelCard[]> {
    return cardsOf(this.#components.models)
  }

  async model(name: string): Promise<ModelCard> {
    return cardNamed(await this.models(), name)
  }

  async count(
    request: Pick<AnswerRequest, 'model' | 'input' | 'format'>,
    { signal }: AnswerOptions
  ): Promise<number> {
    const card = await this.model(request.model)
    const text = await this.#textOf(card, signal)
    return (await text.prompt(request)).tokens.length
  }

  async *answer(request: AnswerRequest, options: AnswerOptions): AsyncGenerator<AnswerEvent, void> {
    const end = new AbortController()
    const signal = AbortSignal.any([options.signal, end.signal, this.#life.signal])
    signal.throwIfAborted()
    const card = await this.model(request.model)
    try {
      yield* this.#answer(request, card, { ...options, signal })
    } catch (error) {
      signal.throwIfAborted()
      throw answerError(error, card)
    } finally {
      end.abort() // whoever stops reading wants nothing more
    }
  }

  async *#answer(
    request: AnswerRequest,
    card: ModelCard,
    { owner, signal, waitMs = 0 }: AnswerOptions
  ): AsyncGenerator<AnswerEvent, void> {
    const text = await this.#textOf(card, signal)
    const prompt = await text.prompt(request)
    const { tokens, grammar } = prompt
    checkTokens(tokens, text.vocabulary)
    const sampler = defaultSampler({
      ...this.#sampling(request.sampling, text.recommended),
      ...(grammar === undefined ? {} : { grammar }),
      generatedFrom: tokens.length,
      alternatives: request.alternatives
    })
    const inbox = new Inbox<Arrival>()
    const onEvent = (event: ChainEvent): void => inbox.push({ event })
    const { maxTokens } = request
    const startedAt = performance.now()
    yield* this.#conversations.with(
      { ...{ model: card.id, owner, tokens, maxTokens, sampler, waitMs, onEvent, signal } },
      (conversation) => {
        const chainMs = performance.now() - startedAt
        const newId = (): string => this.#newId()
        return tell(conversation, { card, text, prompt, request, inbox, chainMs, newId, signal })
      }
    )
  }

  #newId(): string {
    return `call_${Array.from({ length: 24 }, () => Math.floor(this.#components.random() * 36).toString(36)).join('')}`
  }

  /** Throws what fetching and starting throw, or the signal's reason. */
  async #textOf({ id }: ModelCard, signal: AbortSignal): Promise<ModelText> {
    const known = this.#texts.get(id)
    // Whoever asked first may go away: others wait for it, too.
    const text = known ?? this.#load(id)
    this.#texts.delete(id)
    this.#texts.set(id, text)
    const [oldest] = this.#texts
    if (this.#texts.size > MOST_TEXTS && oldest !== undefined) {
      this.#texts.delete(oldest[0])
      void stopped(oldest[1])
    }
    return unless(signal, text)
  }

  #load(id: string): Promise<ModelText> {
    const loading = (async () => {
      const { signal } = this.#life
      const text = new ModelText(await this.#components.models.vocabulary(id, signal))
      await text.start({ signal }).catch(async (error: unknown) => {
        await text.stop()
        throw error
      })
      return text
    })()
    loading.catch(() => this.#texts.delete(id)) // to be tried again
    return loading
  }

  #sampling(asked: Sampling, recommended: Sampling) {
    const { random } = this.#components
    const { temperature = recommended.temperature ?? 1, topP, topK, minP, logitBias } = asked
    const { frequencyPenalty = 0, presencePenalty = 0, repeatPenalty = 1 } = asked
    const isPenalized = frequencyPenalty !== 0 || presencePenalty !== 0 || repeatPenalty !== 1
    return {
      ...{ temperature, topP: topP ?? recommended.topP ?? 1, topK: topK ?? recommended.topK ?? 0 },
      ...{ minP: minP ?? recommended.minP ?? 0, frequencyPenalty, presencePenalty, repeatPenalty },
      penaltyLastN: isPenalized ? PENALTY_LAST : 0,
      logitBias: [...(logitBias ?? [])],
      seed: asked.seed ?? Math.floor(random() * 2 ** 32)
    }
  }
}

async function stopped(text: Promise<ModelText>): Promise<void> {
  await text.then((loaded) => loaded.stop()).catch(() => {}) // it has not started
}

/** Throws the signal's reason as soon as it fires. */
function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', abort))
}

/** Ids that a program gives itself may be any numbers. */
function checkTokens(tokens: Int32Array, vocabulary: number): void {
  if (tokens.length === 0) throw new AnswerError('INPUT', 'The prompt is empty.', { field: 'input' })
  const wrong = tokens.find((token) => token < 0 || token >= vocabulary)
  if (wrong === undefined) return
  const message = `${wrong} is no token of this model: its ids go from 0 to ${vocabulary - 1}.`
  throw new AnswerError('INPUT', message, { field: 'input' })
}

function answerError(error: unknown, { name, missing }: ModelCard): unknown {
  if (error instanceof AnswerError) return error
  const cause = { cause: error }
  if (error instanceof NoChainError) {
    const { block } = error
    const gaps = missing.length > 0 ? missing : [[block, block + 1] as const]
    const what = gaps.map(([start, end]) => `${start}-${end}`).join(', ')
    const message = `${name} can't be computed now: nobody hosts its blocks ${what}. ${RETRY_ADVICE}`
    return new AnswerError(
      'NOT_COVERED',
      message,
      { missing: gaps, retrySeconds: RETRY_COVERED_SECONDS },
      cause
    )
  }
  if (error instanceof ShoalError && error.code === 'NO_PEERS') {
    const message = `${name} can't be computed now: ${error.message}`
    return new AnswerError('NOT_COVERED', message, { missing, retrySeconds: RETRY_COVERED_SECONDS }, cause)
  }
  if (!(error instanceof SessionError)) return error
  if (error.code === 'REFUSED' || error.code === 'TIMEOUT') {
    const message = `No node has room for another answer by ${name} now: try again soon. (${error.message})`
    return new AnswerError('BUSY', message, { retrySeconds: RETRY_BUSY_SECONDS }, cause)
  }
  if (error.code === 'INPUT') return new AnswerError('INPUT', error.message, {}, cause)
  return new AnswerError('LOST', `The answer could not be finished: ${error.message}`, {}, cause)
}
