/** `/v1/completions`: text that goes on, OpenAI's oldest dialect. */
import { z } from 'zod'
import type { AnswerEvent, AnswerRequest, Continuation, DrawnLog, Format } from '../../chat/index.ts'
import { GatewayError } from '../errors.ts'
import { openaiError } from './failures.ts'
import {
  MAX_ANSWERS,
  maybeStop,
  model,
  refused,
  samplingFields,
  tokenCount,
  toSampling,
  toStop
} from './fields.ts'
import { detailsOf, FINGERPRINT, logprobOf, newId, textOfToken, usageOf } from './openai.ts'
import type { Dialect, Exchange } from './route.ts'
import { type Renderer, sse } from './sse.ts'
import { type Ended, ended, totalUsage, Whole } from './whole.ts'

/** OpenAI's: programs that set nothing expect little. */
const DEFAULT_TOKENS = 16

const token = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)
const tokens = z.array(token).min(1)

export const completionRequest = z
  .object({
    model,
    prompt: z.union([z.string(), z.array(z.string()).min(1), tokens, z.array(tokens).min(1)]),
    ...samplingFields,
    stop: maybeStop,
    n: z.int().min(1).max(MAX_ANSWERS).nullish(),
    best_of: z.int().min(1).max(MAX_ANSWERS).nullish(),
    max_tokens: tokenCount.nullish().describe(`Default ${DEFAULT_TOKENS}`),
    echo: z.boolean().nullish(),
    logprobs: z.int().min(0).max(20).nullish(),
    suffix: refused('text can’t be filled in here', ['']),
    grammar: z.string().min(1).nullish().describe('GBNF with a rule `root`; not OpenAI’s'),
    stream: z.boolean().nullish(),
    stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish()
  })
  .refine((body) => (body.best_of ?? 1) <= (body.n ?? 1), {
    error: 'answers are not ranked: ask for `n`, and choose',
    path: ['best_of']
  })
  .refine((body) => !body.echo || typeof body.logprobs !== 'number', {
    error: 'the prompt’s log probabilities are not computed: either echo or logprobs',
    path: ['echo']
  })

type CompletionRequest = z.output<typeof completionRequest>

export const completions: Dialect<typeof completionRequest> = {
  path: '/v1/completions',
  schema: completionRequest,
  params: { input: 'prompt', maxTokens: 'max_tokens', format: 'grammar', alternatives: 'logprobs' },
  requests: completionRequests,
  isStreamed: (body) => body.stream === true,
  whole: (wholes, { wall, hasDetails }, body) => ({
    id: newId('cmpl-'),
    object: 'text_completion',
    created: Math.floor(wall / 1_000),
    model: wholes[0]?.model,
    system_fingerprint: FINGERPRINT,
    choices: wholes.map(({ text, logs, end }, index) => {
      const echo = echoOf(body, index)
      return {
        index,
        text: echo + text,
        logprobs: logprobs(logs, 0),
        finish_reason: REASONS[end.reason]
      }
    }),
    usage: usageOf(totalUsage(wholes, body.n ?? 1)),
    ...(hasDetails && { shoal: detailsOf(wholes) })
  }),
  renderer: (body, exchange) => new CompletionChunks(body, exchange)
}

const REASONS = { stop: 'stop', length: 'length', calls: 'stop' } as const

function completionRequests(body: CompletionRequest): readonly AnswerRequest[] {
  const prompts = promptsOf(body)
  const each = body.n ?? 1
  if (prompts.length * each > MAX_ANSWERS) {
    throw new GatewayError('INPUT', `at most ${MAX_ANSWERS} answers at once`, { param: 'prompt' })
  }
  if (body.echo && prompts.some((prompt) => typeof prompt !== 'string')) {
    throw new GatewayError('INPUT', 'echo takes a prompt of text, not of tokens', { param: 'echo' })
  }
  const format: Format = body.grammar ? { kind: 'grammar', grammar: body.grammar } : { kind: 'text' }
  return prompts.flatMap((prompt) =>
    Array.from({ length: each }, (_, index) => ({
      model: body.model,
      input: { kind: 'continuation', prompt } satisfies Continuation,
      maxTokens: body.max_tokens ?? DEFAULT_TOKENS,
      stop: toStop(body.stop),
      sampling: toSampling(body, index),
      format,
      alternatives: body.logprobs ?? undefined
    }))
  )
}

function promptsOf({ prompt }: CompletionRequest): readonly Continuation['prompt'][] {
  if (typeof prompt === 'string') return [prompt]
  if (isTokens(prompt)) return [Int32Array.from(prompt)]
  return prompt.map((each) => (typeof each === 'string' ? each : Int32Array.from(each)))
}

function isTokens(prompt: readonly unknown[]): prompt is readonly number[] {
  return typeof prompt[0] === 'number'
}

function echoOf(body: CompletionRequest, index: number): string {
  const prompt = promptsOf(body)[Math.floor(index / (body.n ?? 1))]
  return body.echo && typeof prompt === 'string' ? prompt : ''
}

/** `offset`: characters of the text before, as all of OpenAI's offsets count them. */
function logprobs(logs: readonly DrawnLog[], offset: number) {
  if (logs.length === 0) return null
  const texts = logs.map(textOfToken)
  return {
    tokens: texts,
    token_logprobs: logs.map(logprobOf),
    top_logprobs: logs.map((log) =>
      Object.fromEntries(log.alternatives.map((other) => [textOfToken(other), logprobOf(other)]))
    ),
    text_offset: texts.map((text) => {
      offset += text.length
      return offset - text.length
    })
  }
}

class CompletionChunks implements Renderer {
  readonly #head: Record<string, unknown>
  readonly #wholes: readonly Whole[]
  readonly #offsets: number[]
  readonly #body: CompletionRequest
  readonly #hasDetails: boolean

  constructor(body: CompletionRequest, { wall, hasDetails }: Exchange) {
    const count = promptsOf(body).length * (body.n ?? 1)
    const created = Math.floor(wall / 1_000)
    this.#head = { id: newId('cmpl-'), object: 'text_completion', created, model: body.model }
    this.#wholes = Array.from({ length: count }, () => new Whole())
    this.#offsets = Array.from({ length: count }, () => 0)
    this.#body = body
    this.#hasDetails = hasDetails
  }

  event(event: AnswerEvent, index: number): string {
    if (event.type === 'start' || event.type === 'end') this.#wholes[index]?.add(event)
    switch (event.type) {
      case 'start': {
        this.#head.model = event.model
        return this.#chunk(index, echoOf(this.#body, index))
      }
      case 'text': {
        const logs = logprobs(event.logs, this.#offsets[index] ?? 0)
        this.#offsets[index] = (this.#offsets[index] ?? 0) + event.text.length
        return this.#chunk(index, event.text, logs)
      }
      case 'end':
        return this.#chunk(index, '', null, REASONS[event.reason])
      default:
        return ''
    }
  }

  end(): string {
    const wholes: readonly Ended[] = this.#wholes.map(ended)
    const hasUsage = this.#body.stream_options?.include_usage === true
    const usage = hasUsage && { usage: usageOf(totalUsage(wholes, this.#body.n ?? 1)) }
    const shoal = this.#hasDetails && { shoal: detailsOf(wholes) }
    const last = { ...this.#head, system_fingerprint: FINGERPRINT, choices: [], ...usage, ...shoal }
    return `${hasUsage || this.#hasDetails ? sse(last) : ''}data: [DONE]\n\n`
  }

  failure(error: GatewayError): string {
    return sse(openaiError(error))
  }

  #chunk(index: number, text: string, logs: unknown = null, reason: string | null = null): string {
    return sse({
      ...this.#head,
      system_fingerprint: FINGERPRINT,
      choices: [{ index, text, logprobs: logs, finish_reason: reason }],
      ...(this.#body.stream_options?.include_usage && { usage: null })
    })
  }
}
