import type { AnswerEvent, DrawnLog } from '../../chat/index.ts'
import { type ChatRequest, chatParams, chatRequest, chatRequests } from './chat-request.ts'
import { openaiError } from './failures.ts'
import { chatLog, detailsOf, FINGERPRINT, newId, usageOf } from './openai.ts'
import type { Dialect, Exchange } from './route.ts'
import { type Renderer, sse } from './sse.ts'
import { type Ended, ended, totalUsage, Whole } from './whole.ts'

export const chatCompletions: Dialect<typeof chatRequest> = {
  path: '/v1/chat/completions',
  schema: chatRequest,
  params: chatParams,
  requests: chatRequests,
  isStreamed: (body) => body.stream === true,
  whole: (wholes, { wall, hasDetails }) => ({
    id: newId('chatcmpl-'),
    object: 'chat.completion',
    created: Math.floor(wall / 1_000),
    model: wholes[0]?.model,
    system_fingerprint: FINGERPRINT,
    choices: wholes.map(choice),
    usage: usageOf(totalUsage(wholes, wholes.length)),
    ...(hasDetails && { shoal: detailsOf(wholes) })
  }),
  renderer: (body, exchange) => new ChatChunks(body, exchange)
}

const REASONS = { stop: 'stop', length: 'length', calls: 'tool_calls' } as const

function choice(whole: Ended, index: number) {
  const { text, reasoning, calls, logs, end } = whole
  return {
    index,
    message: {
      role: 'assistant',
      content: text === '' && calls.length > 0 ? null : text,
      refusal: null,
      ...(reasoning !== '' && { reasoning_content: reasoning }),
      ...(calls.length > 0 && { tool_calls: calls.map(toolCall) })
    },
    logprobs: logprobs(logs),
    finish_reason: REASONS[end.reason]
  }
}

function toolCall({ id, name, arguments: text }: { id: string; name: string; arguments: string }) {
  return { id, type: 'function', function: { name, arguments: text } }
}

function logprobs(logs: readonly DrawnLog[]) {
  if (logs.length === 0) return null
  const content = logs.map((log) => ({ ...chatLog(log), top_logprobs: log.alternatives.map(chatLog) }))
  return { content, refusal: null }
}

class ChatChunks implements Renderer {
  readonly #head: Record<string, unknown>
  readonly #wholes: readonly Whole[]
  readonly #hasUsage: boolean
  readonly #hasDetails: boolean

  constructor(body: ChatRequest, { wall, hasDetails }: Exchange) {
    const created = Math.floor(wall / 1_000)
    this.#head = { id: newId('chatcmpl-'), object: 'chat.completion.chunk', created, model: body.model }
    this.#wholes = Array.from({ length: body.n ?? 1 }, () => new Whole())
    this.#hasUsage = body.stream_options?.include_usage === true
    this.#hasDetails = hasDetails
  }

  event(event: AnswerEvent, index: number): string {
    // Of texts the chunks keep nothing: an answer may be long.
    if (event.type === 'start' || event.type === 'end') this.#wholes[index]?.add(event)
    switch (event.type) {
      case 'start':
        this.#head.model = event.model
        return this.#chunk(index, { role: 'assistant', content: '', refusal: null })
      case 'reasoning':
        return this.#chunk(index, { reasoning_content: event.text })
      case 'text':
        return this.#chunk(index, { content: event.text }, logprobs(event.logs))
      case 'call': {
        const { index: number, id, name } = event
        return this.#chunk(index, {
          tool_calls: [{ index: number, ...toolCall({ id, name, arguments: '' }) }]
        })
      }
      case 'arguments':
        return this.#chunk(index, {
          tool_calls: [{ index: event.index, function: { arguments: event.text } }]
        })
      case 'end':
        return this.#chunk(index, {}, null, REASONS[event.reason])
      case 'chain':
        return ''
    }
  }

  end(): string {
    const wholes = this.#wholes.map(ended)
    const usage = this.#hasUsage && { usage: usageOf(totalUsage(wholes, wholes.length)) }
    const shoal = this.#hasDetails && { shoal: detailsOf(wholes) }
    const hasLast = this.#hasUsage || this.#hasDetails
    const last = { ...this.#head, system_fingerprint: FINGERPRINT, choices: [], ...usage, ...shoal }
    return `${hasLast ? sse(last) : ''}data: [DONE]\n\n`
  }

  failure(error: Parameters<typeof openaiError>[0]): string {
    return sse(openaiError(error))
  }

  #chunk(index: number, delta: unknown, logs: unknown = null, reason: string | null = null): string {
    return sse({
      ...this.#head,
      system_fingerprint: FINGERPRINT,
      choices: [{ index, delta, logprobs: logs, finish_reason: reason }],
      ...(this.#hasUsage && { usage: null })
    })
  }
}
