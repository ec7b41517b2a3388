/** `/v1/responses`: OpenAI's newer dialect. Nothing is stored. */
import type { DrawnLog, Usage } from '../../chat/index.ts'
import type { GatewayError } from '../errors.ts'
import { chatLog, detailsOf, newId } from './openai.ts'
import {
  type ResponsesRequest,
  responsesParams,
  responsesRequest,
  responsesRequests
} from './responses-request.ts'
import type { Dialect, Exchange } from './route.ts'
import { type Renderer, type Saying, sse } from './sse.ts'
import { type Ended, ended, Whole } from './whole.ts'

export const responses: Dialect<typeof responsesRequest> = {
  path: '/v1/responses',
  schema: responsesRequest,
  params: responsesParams,
  requests: responsesRequests,
  isStreamed: (body) => body.stream === true,
  // The same way as streams go: the items of an answer are those of its events.
  whole: ([whole], exchange, body) => new ResponseEvents(body, exchange).whole(whole as Ended),
  renderer: (body, exchange) => new ResponseEvents(body, exchange)
}

type Status = 'in_progress' | 'completed' | 'incomplete' | 'failed'

interface Item {
  readonly id: string
  readonly type: 'message' | 'reasoning' | 'function_call'
  status: Status
  [field: string]: unknown
}

/** An item that is open, and what it says so far. */
interface Open {
  readonly item: Item
  text: string
  readonly logs: DrawnLog[]
}

class ResponseEvents implements Renderer {
  readonly #body: ResponsesRequest
  readonly #exchange: Exchange
  readonly #id = newId('resp_')
  readonly #whole = new Whole()
  readonly #output: Item[] = []
  #open: Open | undefined
  #sequence = 0

  constructor(body: ResponsesRequest, exchange: Exchange) {
    this.#body = body
    this.#exchange = exchange
  }

  whole(whole: Ended): unknown {
    const { reasoning, text, logs, calls, end } = whole
    this.#whole.add({ type: 'start', model: whole.model, promptTokens: whole.promptTokens, hops: [] })
    if (reasoning !== '') this.event({ type: 'reasoning', text: reasoning })
    if (text !== '') this.event({ type: 'text', text, logs })
    for (const [index, { id, name, arguments: given }] of calls.entries()) {
      this.event({ type: 'call', index, id, name })
      this.event({ type: 'arguments', index, text: given })
    }
    this.event(end)
    return this.#response(endStatus(end))
  }

  event(event: Saying): string {
    switch (event.type) {
      case 'start': {
        this.#whole.add(event)
        const response = this.#response('in_progress')
        return this.#say('response.created', { response }) + this.#say('response.in_progress', { response })
      }
      case 'reasoning':
        return this.#enter('reasoning') + this.#add('response.reasoning_text.delta', event.text)
      case 'text':
        if (event.text === '' && event.logs.length === 0) return ''
        return this.#enter('message') + this.#add('response.output_text.delta', event.text, event.logs)
      case 'call':
        return this.#leave('completed') + this.#call(event.id, event.name)
      case 'arguments':
        return this.#add('response.function_call_arguments.delta', event.text)
      case 'end':
        this.#whole.add(event)
        return this.#leave(endStatus(event))
    }
  }

  end(): string {
    const status = endStatus(ended(this.#whole).end)
    return this.#say(`response.${status}`, { response: this.#response(status) })
  }

  failure(error: GatewayError): string {
    const code = error.code === 'LIMITED' ? 'rate_limit_exceeded' : 'server_error'
    const response = { ...this.#response('failed'), error: { code, message: error.message } }
    return this.#say('response.failed', { response })
  }

  #enter(type: 'message' | 'reasoning'): string {
    if (this.#open?.item.type === type) return ''
    const left = this.#leave('completed')
    const item: Item =
      type === 'message'
        ? { id: newId('msg_'), type, status: 'in_progress', role: 'assistant', content: [] }
        : { id: newId('rs_'), type, status: 'in_progress', summary: [], content: [] }
    const added = this.#begin(item)
    return left + added + this.#inPart('response.content_part.added', { part: partOf(type, '', []) })
  }

  #call(id: string, name: string): string {
    const item: Item = { id: newId('fc_'), type: 'function_call', status: 'in_progress', call_id: id, name }
    return this.#begin({ ...item, arguments: '' })
  }

  #begin(item: Item): string {
    this.#open = { item, text: '', logs: [] }
    this.#output.push(item)
    return this.#say('response.output_item.added', { output_index: this.#output.length - 1, item })
  }

  #add(type: string, delta: string, logs: readonly DrawnLog[] = []): string {
    const open = this.#open
    if (open === undefined) return ''
    open.text += delta
    for (const log of logs) open.logs.push(log)
    if (open.item.type !== 'message') return this.#inPart(type, { delta })
    return this.#inPart(type, { delta, logprobs: logs.map(logprob) })
  }

  /** What was open is done, in all its layers. */
  #leave(status: Status): string {
    const open = this.#open
    if (open === undefined) return ''
    const { item, text, logs } = open
    let done: string
    if (item.type === 'function_call') {
      item.arguments = text
      done = this.#inPart('response.function_call_arguments.done', { name: item.name, arguments: text })
    } else {
      const part = partOf(item.type, text, logs)
      item.content = [part]
      const isText = item.type === 'message'
      done = isText
        ? this.#inPart('response.output_text.done', { text, logprobs: logs.map(logprob) })
        : this.#inPart('response.reasoning_text.done', { text })
      done += this.#inPart('response.content_part.done', { part })
    }
    item.status = status
    this.#open = undefined
    return done + this.#say('response.output_item.done', { output_index: this.#output.length - 1, item })
  }

  #inPart(type: string, fields: object): string {
    const item = this.#output.at(-1)
    const part = item?.type === 'function_call' ? {} : { content_index: 0 }
    return this.#say(type, { item_id: item?.id, output_index: this.#output.length - 1, ...part, ...fields })
  }

  #say(type: string, fields: object): string {
    return sse({ type, sequence_number: this.#sequence++, ...fields }, type)
  }

  #response(status: Status) {
    const { end } = this.#whole
    const { wall, hasDetails } = this.#exchange
    return {
      id: this.#id,
      object: 'response',
      created_at: Math.floor(wall / 1_000),
      status,
      error: null,
      incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
      ...echoed(this.#body),
      model: this.#whole.model || this.#body.model,
      output: this.#output,
      usage: end === undefined ? null : usageOf(end.usage),
      ...(hasDetails && end !== undefined && { shoal: detailsOf([ended(this.#whole)]) })
    }
  }
}

function endStatus({ reason }: Ended['end']): 'completed' | 'incomplete' {
  return reason === 'length' ? 'incomplete' : 'completed'
}

/** What was asked, as responses repeat it. */
function echoed(body: ResponsesRequest) {
  return {
    background: false,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    metadata: body.metadata ?? {},
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    store: false,
    temperature: body.temperature ?? null,
    text: { format: body.text?.format ?? { type: 'text' } },
    tool_choice: body.tool_choice ?? (body.tools?.length ? 'auto' : 'none'),
    tools: body.tools ?? [],
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? null,
    truncation: 'disabled'
  }
}

function partOf(type: 'message' | 'reasoning', text: string, logs: readonly DrawnLog[]) {
  if (type === 'reasoning') return { type: 'reasoning_text', text }
  return { type: 'output_text', text, annotations: [], logprobs: logs.map(logprob) }
}

function logprob(log: DrawnLog) {
  return { ...chatLog(log), top_logprobs: log.alternatives.map(chatLog) }
}

function usageOf({ promptTokens, cachedTokens, answerTokens, reasoningTokens }: Usage) {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: answerTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: promptTokens + answerTokens
  }
}
