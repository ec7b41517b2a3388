/** `/v1/completions`: text that goes on, OpenAI's oldest dialect. */
import { z } from 'zod'
import type { AnswerRequest, Continuation, DrawnLog, Format } from '../../chat/index.ts'
import { GatewayError } from '../errors.ts'
import { Chunks } from './chunks.ts'
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
import { detailsOf, headOf, logprobOf, textOfToken, usageOf } from './openai.ts'
import type { Dialect, Exchange } from './route.ts'
import type { Saying } from './sse.ts'
import { totalUsage } from './whole.ts'

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
    ...headOf(PREFIX, OBJECT, wholes[0]?.model ?? '', wall),
    choices: wholes.map(({ text, logs, end }, index) => ({
      index,
      text: echoOf(body, index) + text,
      logprobs: logprobs(logs, 0),
      finish_reason: REASONS[end.reason]
    })),
    usage: usageOf(totalUsage(wholes, body.n ?? 1)),
    ...(hasDetails && { shoal: detailsOf(wholes) })
  }),
  renderer: (body, exchange) => new CompletionChunks(body, exchange)
}

const PREFIX = 'cmpl-'
const OBJECT = 'text_completion'
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

class CompletionChunks extends Chunks {
  readonly #body: CompletionRequest
  /** How much of each text was said. */
  readonly #offsets: number[] = []

  constructor(body: CompletionRequest, exchange: Exchange) {
    const hasUsage = body.stream_options?.include_usage === true
    const { model } = body
    const prompts = promptsOf(body).length
    super({ prefix: PREFIX, object: OBJECT, model, prompts, each: body.n ?? 1, hasUsage }, exchange)
    this.#body = body
  }

  protected choice(event: Saying, index: number): object | undefined {
    switch (event.type) {
      case 'start':
        return { text: echoOf(this.#body, index), logprobs: null, finish_reason: null }
      case 'text': {
        const offset = this.#offsets[index] ?? 0
        this.#offsets[index] = offset + event.text.length
        return { text: event.text, logprobs: logprobs(event.logs, offset), finish_reason: null }
      }
      case 'end':
        return { text: '', logprobs: null, finish_reason: REASONS[event.reason] }
      default:
        return undefined
    }
  }
}
