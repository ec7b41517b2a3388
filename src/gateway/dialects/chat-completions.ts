import type { Call, DrawnLog } from '../../chat/index.ts'
import { type ChatRequest, chatParams, chatRequest, chatRequests } from './chat-request.ts'
import { Chunks } from './chunks.ts'
import { chatLog, detailsOf, headOf, usageOf } from './openai.ts'
import type { Dialect, Exchange } from './route.ts'
import type { Saying } from './sse.ts'
import { type Ended, totalUsage } from './whole.ts'

export const chatCompletions: Dialect<typeof chatRequest> = {
  path: '/v1/chat/completions',
  schema: chatRequest,
  params: chatParams,
  requests: chatRequests,
  isStreamed: (body) => body.stream === true,
  whole: (wholes, { wall, hasDetails }) => ({
    ...headOf(PREFIX, 'chat.completion', wholes[0]?.model ?? '', wall),
    choices: wholes.map(choice),
    usage: usageOf(totalUsage(wholes, wholes.length)),
    ...(hasDetails && { shoal: detailsOf(wholes) })
  }),
  renderer: (body, exchange) => new ChatChunks(body, exchange)
}

const PREFIX = 'chatcmpl-'
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

function toolCall({ id, name, arguments: text }: Call) {
  return { id, type: 'function', function: { name, arguments: text } }
}

function logprobs(logs: readonly DrawnLog[]) {
  if (logs.length === 0) return null
  const content = logs.map((log) => ({ ...chatLog(log), top_logprobs: log.alternatives.map(chatLog) }))
  return { content, refusal: null }
}

class ChatChunks extends Chunks {
  constructor(body: ChatRequest, exchange: Exchange) {
    const hasUsage = body.stream_options?.include_usage === true
    const { model } = body
    const each = body.n ?? 1
    super({ prefix: PREFIX, object: 'chat.completion.chunk', model, prompts: 1, each, hasUsage }, exchange)
  }

  protected choice(event: Saying): object {
    if (event.type === 'end') return { delta: {}, logprobs: null, finish_reason: REASONS[event.reason] }
    const logs = event.type === 'text' ? logprobs(event.logs) : null
    return { delta: delta(event), logprobs: logs, finish_reason: null }
  }
}

function delta(event: Exclude<Saying, { type: 'end' }>): object {
  switch (event.type) {
    case 'start':
      return { role: 'assistant', content: '', refusal: null }
    case 'reasoning':
      return { reasoning_content: event.text }
    case 'text':
      return { content: event.text }
    case 'call': {
      const { index, id, name } = event
      return { tool_calls: [{ index, ...toolCall({ id, name, arguments: '' }) }] }
    }
    case 'arguments':
      return { tool_calls: [{ index: event.index, function: { arguments: event.text } }] }
  }
}
