/** `/v1/messages`: Anthropic's dialect. */
import type { Context, Hono } from 'hono'
import type { AnswerEvent, Usage } from '../../chat/index.ts'
import type { GatewayEnv } from '../env.ts'
import type { GatewayError } from '../errors.ts'
import { parseBody } from './body.ts'
import { anthropicError } from './failures.ts'
import {
  countRequest,
  messagesParams,
  messagesRequest,
  messagesRequests,
  toPrompt
} from './messages-request.ts'
import { detailsOf, newId } from './openai.ts'
import { type Dialect, type DialectComponents, type Exchange, guarded } from './route.ts'
import { type Renderer, type Saying, sse } from './sse.ts'
import { type Ended, ended, Whole } from './whole.ts'

export const messages: Dialect<typeof messagesRequest> = {
  path: '/v1/messages',
  schema: messagesRequest,
  params: messagesParams,
  requests: messagesRequests,
  isStreamed: (body) => body.stream === true,
  whole: (wholes, { hasDetails }) => ({
    ...wholes.map((whole) =>
      message(whole.model, contentOf(whole), stopOf(whole), usageOf(whole.end.usage))
    )[0],
    ...(hasDetails && { shoal: detailsOf(wholes) })
  }),
  renderer: (_, exchange) => new MessageEvents(exchange)
}

/** How many tokens a prompt would have. */
export function addCountTokens(app: Hono<GatewayEnv>, components: DialectComponents): void {
  const count = async (c: Context<GatewayEnv>): Promise<Response> => {
    const prompt = toPrompt(await parseBody(c, countRequest))
    const { requestId: id, owner, signal } = c.var
    return c.json({ input_tokens: await components.answers.count(prompt, { id, owner, signal }) })
  }
  app.post('/v1/messages/count_tokens', guarded(components, count, messagesParams))
}

interface Stop {
  readonly stop_reason: 'end_turn' | 'stop_sequence' | 'max_tokens' | 'tool_use' | null
  readonly stop_sequence: string | null
}

function message(model: string, content: readonly unknown[], stop: Stop, usage: unknown) {
  return { id: newId('msg_'), type: 'message', role: 'assistant', model, content, ...stop, usage }
}

function stopOf({ end: { reason, stop } }: Ended): Stop {
  if (reason === 'calls') return { stop_reason: 'tool_use', stop_sequence: null }
  if (reason === 'length') return { stop_reason: 'max_tokens', stop_sequence: null }
  const stop_reason = stop === undefined ? 'end_turn' : 'stop_sequence'
  return { stop_reason, stop_sequence: stop ?? null }
}

/** What was computed before is not in `input_tokens`. */
function usageOf({ promptTokens, cachedTokens, answerTokens }: Usage) {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: answerTokens
  }
}

/** Nobody checks where thoughts came from. */
const NO_SIGNATURE = ''

function contentOf({ reasoning, text, calls }: Ended): readonly unknown[] {
  return [
    ...(reasoning === '' ? [] : [{ type: 'thinking', thinking: reasoning, signature: NO_SIGNATURE }]),
    ...(text === '' ? [] : [{ type: 'text', text, citations: null }]),
    ...calls.map((call) => ({
      type: 'tool_use',
      id: call.id,
      name: call.name,
      input: inputOf(call.arguments)
    }))
  ]
}

/** Arguments that were cut off by `max_tokens` are none. */
function inputOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

class MessageEvents implements Renderer {
  readonly #whole = new Whole()
  readonly #exchange: Exchange
  /** The content block that is open, and its number. */
  #kind: 'thinking' | 'text' | 'tool_use' | undefined
  #index = -1

  constructor(exchange: Exchange) {
    this.#exchange = exchange
  }

  event(event: Saying): string {
    switch (event.type) {
      case 'start':
        this.#whole.add(event)
        return this.#start(event)
      case 'reasoning':
        return this.#enter('thinking') + this.#delta({ type: 'thinking_delta', thinking: event.text })
      case 'text':
        if (event.text === '') return ''
        return this.#enter('text') + this.#delta({ type: 'text_delta', text: event.text })
      case 'call':
        return this.#leave() + this.#open('tool_use', { id: event.id, name: event.name, input: {} })
      case 'arguments':
        return this.#delta({ type: 'input_json_delta', partial_json: event.text })
      case 'end':
        this.#whole.add(event)
        return this.#leave()
    }
  }

  end(): string {
    const whole = ended(this.#whole)
    const shoal = this.#exchange.hasDetails && { shoal: detailsOf([whole]) }
    const usage = usageOf(whole.end.usage)
    return (
      named({ type: 'message_delta', delta: stopOf(whole), usage }) +
      named({ type: 'message_stop', ...shoal })
    )
  }

  failure(error: GatewayError): string {
    return sse(anthropicError(error, this.#exchange.requestId), 'error')
  }

  keepAlive(): string {
    return this.#whole.model === '' ? ': working\n\n' : named({ type: 'ping' })
  }

  #start({ model, promptTokens }: Extract<AnswerEvent, { type: 'start' }>): string {
    const none = { stop_reason: null, stop_sequence: null }
    const usage = usageOf({ promptTokens, cachedTokens: 0, answerTokens: 0, reasoningTokens: 0 })
    return named({ type: 'message_start', message: message(model, [], none, usage) })
  }

  #enter(kind: 'thinking' | 'text'): string {
    if (this.#kind === kind) return ''
    const begun = kind === 'text' ? { text: '', citations: null } : { thinking: '', signature: NO_SIGNATURE }
    return this.#leave() + this.#open(kind, begun)
  }

  #open(kind: 'thinking' | 'text' | 'tool_use', begun: object): string {
    this.#kind = kind
    this.#index++
    return named({
      type: 'content_block_start',
      index: this.#index,
      content_block: { type: kind, ...begun }
    })
  }

  #delta(delta: object): string {
    return named({ type: 'content_block_delta', index: this.#index, delta })
  }

  #leave(): string {
    if (this.#kind === undefined) return ''
    this.#kind = undefined
    return named({ type: 'content_block_stop', index: this.#index })
  }
}

function named(data: { readonly type: string; readonly [field: string]: unknown }): string {
  return sse(data, data.type)
}
