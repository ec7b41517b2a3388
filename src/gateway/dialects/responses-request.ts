/** What `/v1/responses` takes, and the internal request that it makes. */
import { z } from 'zod'
import type { AnswerRequest, Call, Conversation, Message, ToolChoice } from '../../chat/index.ts'
import { GatewayError } from '../errors.ts'
import {
  effort,
  joined,
  jsonSchema,
  MAX_ALTERNATIVES,
  maybeStop,
  model,
  refused,
  samplingFields,
  toFormat,
  tokenCount,
  toolName,
  toReasoning,
  toSampling,
  toStop,
  toToolChoice,
  toTools,
  unknownType
} from './fields.ts'

const notStored = 'nothing is stored here: send the whole conversation as `input`'

const textPart = z.object({ type: z.enum(['input_text', 'output_text', 'text']), text: z.string() })
const refusalPart = z.object({ type: z.literal('refusal'), refusal: z.string() })
const parts = z.union([
  z.string(),
  z.array(z.discriminatedUnion('type', [textPart, refusalPart], { error: unknownType }))
])
const thoughts = z.array(z.object({ text: z.string() }))

const item = z.discriminatedUnion(
  'type',
  [
    z.object({
      type: z.literal('message').optional(),
      role: z.enum(['user', 'assistant', 'system', 'developer']),
      content: parts
    }),
    z.object({
      type: z.literal('function_call'),
      call_id: z.string().min(1),
      name: z.string().min(1),
      arguments: z.string()
    }),
    z.object({ type: z.literal('function_call_output'), call_id: z.string().min(1), output: parts }),
    z.object({ type: z.literal('reasoning'), summary: thoughts.nullish(), content: thoughts.nullish() })
  ],
  { error: 'an item has to be a message, function_call, function_call_output or reasoning' }
)

const onlyFunctions = 'models here call functions only: the type has to be "function"'
const tool = z.object({
  type: z.literal('function', { error: onlyFunctions }),
  name: toolName,
  description: z.string().nullish(),
  parameters: jsonSchema.nullish(),
  strict: z.boolean().nullish().describe('Calls always keep to `parameters`')
})
const namedChoice = z.object({ type: z.literal('function', { error: onlyFunctions }), name: z.string() })

const format = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({
      type: z.literal('json_schema'),
      name: z.string().nullish(),
      schema: jsonSchema,
      strict: z.boolean().nullish()
    })
  ],
  { error: 'the type has to be text, json_object or json_schema' }
)

export const responsesRequest = z.object({
  model,
  input: z.union([z.string(), z.array(item).min(1)]),
  instructions: z.string().nullish(),
  ...samplingFields,
  stop: maybeStop,
  max_output_tokens: tokenCount.nullish(),
  text: z
    .object({
      format: format.nullish(),
      verbosity: refused('can’t be chosen: say how long the answer is to be', ['medium'])
    })
    .nullish(),
  tools: z.array(tool).nullish(),
  tool_choice: z.union([z.enum(['none', 'auto', 'required']), namedChoice]).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning: z.object({ effort: effort.nullish() }).nullish(),
  include: z.array(z.string()).nullish().describe('`message.output_text.logprobs`'),
  top_logprobs: z.int().min(0).max(MAX_ALTERNATIVES).nullish(),
  stream: z.boolean().nullish(),
  store: z.boolean().nullish().describe('Nothing is stored, whatever it says'),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  previous_response_id: refused(notStored),
  conversation: refused(notStored),
  background: refused('answers come while the client waits', [false]),
  prompt: refused('prompts are not stored here: send them as `input`'),
  truncation: refused('nothing is left out of an input that is too long', ['disabled'])
})

export type ResponsesRequest = z.output<typeof responsesRequest>

/** What the internal request's fields are called here. */
export const responsesParams: Readonly<Record<string, string>> = {
  messages: 'input',
  maxTokens: 'max_output_tokens',
  format: 'text.format',
  alternatives: 'top_logprobs',
  toolChoice: 'tool_choice',
  parallelCalls: 'parallel_tool_calls',
  reasoning: 'reasoning.effort'
}

/** Throws a GatewayError INPUT. */
export function responsesRequests(body: ResponsesRequest): readonly AnswerRequest[] {
  const asked = body.text?.format
  const hasLogs = body.include?.includes('message.output_text.logprobs') || (body.top_logprobs ?? 0) > 0
  return [
    {
      model: body.model,
      input: toConversation(body),
      maxTokens: body.max_output_tokens ?? undefined,
      stop: toStop(body.stop),
      sampling: toSampling(body),
      format: toFormat(asked?.type, asked?.type === 'json_schema' ? asked.schema : undefined),
      alternatives: hasLogs ? (body.top_logprobs ?? 0) : undefined
    }
  ]
}

function toConversation(body: ResponsesRequest): Conversation {
  const tools = toTools(body.tools ?? [])
  const instructions: Message[] = body.instructions ? [{ role: 'system', text: body.instructions }] : []
  const said: readonly Message[] =
    typeof body.input === 'string' ? [{ role: 'user', text: body.input }] : new Turns().read(body.input)
  return {
    kind: 'conversation',
    messages: [...instructions, ...said],
    tools,
    toolChoice: toToolChoice(choiceOf(body), tools),
    parallelCalls: body.parallel_tool_calls ?? true,
    reasoning: toReasoning(body.reasoning?.effort)
  }
}

function choiceOf({ tool_choice: choice }: ResponsesRequest): ToolChoice | undefined {
  return typeof choice === 'object' ? (choice ?? undefined) : choice
}

type Item = z.output<typeof item>

/** Items to messages: what an assistant thought, said and called in one turn is one message. */
class Turns {
  readonly #messages: Message[] = []
  readonly #names = new Map<string, string>()
  #texts: string[] = []
  #reasoning: string[] = []
  #calls: Call[] = []

  read(items: readonly Item[]): readonly Message[] {
    for (const [index, each] of items.entries()) this.#add(each, index)
    this.#flush()
    return this.#messages
  }

  #add(each: Item, index: number): void {
    if (each.type === 'reasoning') {
      if (this.#texts.length + this.#calls.length > 0) this.#flush()
      this.#reasoning.push(...(each.content ?? []).map(({ text }) => text))
    } else if (each.type === 'function_call') {
      this.#names.set(each.call_id, each.name)
      this.#calls.push({ id: each.call_id, name: each.name, arguments: each.arguments })
    } else if (each.type === 'function_call_output') {
      this.#flush()
      this.#messages.push(this.#result(each.call_id, textOf(each.output), index))
    } else if (each.role === 'assistant') {
      if (this.#calls.length > 0) this.#flush()
      this.#texts.push(textOf(each.content))
    } else {
      this.#flush()
      this.#messages.push({ role: each.role === 'user' ? 'user' : 'system', text: textOf(each.content) })
    }
  }

  #result(call: string, text: string, index: number): Message {
    const name = this.#names.get(call)
    if (name !== undefined) return { role: 'tool', call, name, text }
    const param = `input[${index}].call_id`
    throw new GatewayError('INPUT', `${param}: no item before is a function_call with this id`, { param })
  }

  #flush(): void {
    const [texts, calls, reasoning] = [this.#texts, this.#calls, this.#reasoning]
    if (texts.length + calls.length + reasoning.length === 0) return
    this.#messages.push({
      role: 'assistant',
      text: joined(texts),
      ...(reasoning.length > 0 && { reasoning: joined(reasoning) }),
      calls
    })
    this.#texts = []
    this.#calls = []
    this.#reasoning = []
  }
}

function textOf(content: z.output<typeof parts>): string {
  if (typeof content === 'string') return content
  return joined(content.map((part) => (part.type === 'refusal' ? part.refusal : part.text)))
}
