/** What `/v1/chat/completions` takes, and the internal request that it makes. */
import { z } from 'zod'
import type { AnswerRequest, Conversation, Format, Message, ToolChoice } from '../../chat/index.ts'
import { GatewayError } from '../errors.ts'
import {
  effort,
  joined,
  jsonSchema,
  MAX_ALTERNATIVES,
  MAX_ANSWERS,
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

const textPart = z.object({ type: z.literal('text'), text: z.string() })
const refusalPart = z.object({ type: z.literal('refusal'), refusal: z.string() })
const content = z.union([
  z.string(),
  z.array(z.discriminatedUnion('type', [textPart], { error: unknownType })).min(1)
])
const assistantContent = z.union([
  z.string(),
  z.array(z.discriminatedUnion('type', [textPart, refusalPart], { error: unknownType }))
])

const onlyFunctions = 'models here call functions only: the type has to be "function"'
const call = z.object({
  id: z.string().min(1),
  type: z.literal('function', { error: onlyFunctions }),
  function: z.object({ name: z.string().min(1), arguments: z.string() })
})

const message = z.discriminatedUnion(
  'role',
  [
    z.object({ role: z.enum(['system', 'developer', 'user']), content }),
    z.object({
      role: z.literal('assistant'),
      content: assistantContent.nullish(),
      reasoning_content: z.string().nullish().describe('Its reasoning, as this server told it'),
      tool_calls: z.array(call).nullish(),
      function_call: refused('functions are `tools` now: use `tool_calls`')
    }),
    z.object({ role: z.literal('tool'), tool_call_id: z.string().min(1), content })
  ],
  { error: 'the role has to be system, developer, user, assistant or tool' }
)

const tool = z.object({
  type: z.literal('function', { error: onlyFunctions }),
  function: z.object({
    name: toolName,
    description: z.string().nullish(),
    parameters: jsonSchema.nullish(),
    strict: z.boolean().nullish().describe('Calls always keep to `parameters`')
  })
})
const namedChoice = z.object({
  type: z.literal('function', { error: onlyFunctions }),
  function: z.object({ name: z.string() })
})

const responseFormat = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('text') }),
    z.object({ type: z.literal('json_object') }),
    z.object({
      type: z.literal('json_schema'),
      json_schema: z.object({
        name: z.string().nullish(),
        schema: jsonSchema.nullish(),
        strict: z.boolean().nullish().describe('The answer always keeps to `schema`')
      })
    })
  ],
  { error: 'the type has to be text, json_object or json_schema' }
)

export const chatRequest = z
  .object({
    model,
    messages: z.array(message).min(1),
    ...samplingFields,
    stop: maybeStop,
    n: z.int().min(1).max(MAX_ANSWERS).nullish(),
    stream: z.boolean().nullish(),
    stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
    max_completion_tokens: tokenCount.nullish(),
    max_tokens: tokenCount.nullish().describe('Older name of max_completion_tokens'),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(MAX_ALTERNATIVES).nullish(),
    response_format: responseFormat.nullish(),
    grammar: z.string().min(1).nullish().describe('GBNF with a rule `root`; not OpenAI’s'),
    tools: z.array(tool).nullish(),
    tool_choice: z.union([z.enum(['none', 'auto', 'required']), namedChoice]).nullish(),
    parallel_tool_calls: z.boolean().nullish(),
    reasoning_effort: effort.nullish(),
    functions: refused('functions are `tools` now'),
    function_call: refused('functions are `tools` now: use `tool_choice`'),
    audio: refused('models here write text only'),
    modalities: z.array(z.literal('text', { error: 'models here write text only' })).nullish(),
    web_search_options: refused('nothing is searched for here'),
    verbosity: refused('can’t be chosen: say in a message how long the answer is to be', ['medium'])
  })
  .refine((body) => typeof body.top_logprobs !== 'number' || body.logprobs === true, {
    error: 'takes `logprobs: true`',
    path: ['top_logprobs']
  })
  .refine((body) => !body.grammar || (body.response_format?.type ?? 'text') === 'text', {
    error: 'either a grammar or a response_format',
    path: ['grammar']
  })

export type ChatRequest = z.output<typeof chatRequest>

/** What the internal request's fields are called here. */
export const chatParams: Readonly<Record<string, string>> = {
  input: 'messages',
  maxTokens: 'max_completion_tokens',
  format: 'response_format',
  alternatives: 'top_logprobs',
  toolChoice: 'tool_choice',
  parallelCalls: 'parallel_tool_calls',
  reasoning: 'reasoning_effort'
}

/** One for each of the `n` answers. Throws a GatewayError INPUT. */
export function chatRequests(body: ChatRequest): readonly AnswerRequest[] {
  const shared = {
    model: body.model,
    input: toConversation(body),
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? undefined,
    stop: toStop(body.stop),
    format: formatOf(body),
    alternatives: body.logprobs ? (body.top_logprobs ?? 0) : undefined
  }
  return Array.from({ length: body.n ?? 1 }, (_, index) => ({ ...shared, sampling: toSampling(body, index) }))
}

function toConversation(body: ChatRequest): Conversation {
  const tools = toTools((body.tools ?? []).map((each) => each.function))
  return {
    kind: 'conversation',
    messages: toMessages(body.messages),
    tools,
    toolChoice: toToolChoice(choiceOf(body), tools),
    parallelCalls: body.parallel_tool_calls ?? true,
    reasoning: toReasoning(body.reasoning_effort)
  }
}

function choiceOf({ tool_choice: choice }: ChatRequest): ToolChoice | undefined {
  return typeof choice === 'object' ? choice?.function : (choice ?? undefined)
}

function formatOf(body: ChatRequest): Format {
  if (body.grammar) return { kind: 'grammar', grammar: body.grammar }
  const { response_format: format } = body
  return toFormat(format?.type, format?.type === 'json_schema' ? format.json_schema.schema : undefined)
}

function toMessages(messages: ChatRequest['messages']): readonly Message[] {
  const names = new Map<string, string>()
  return messages.map((each, index): Message => {
    if (each.role === 'assistant') {
      for (const { id, function: called } of each.tool_calls ?? []) names.set(id, called.name)
      return {
        role: 'assistant',
        text: textOf(each.content ?? ''),
        reasoning: each.reasoning_content ?? undefined,
        calls: each.tool_calls?.map(({ id, function: called }) => ({ id, ...called }))
      }
    }
    if (each.role !== 'tool') {
      return { role: each.role === 'user' ? 'user' : 'system', text: textOf(each.content) }
    }
    const name = names.get(each.tool_call_id)
    if (name === undefined) {
      const param = `messages[${index}].tool_call_id`
      throw new GatewayError('INPUT', `${param}: no message before calls a tool with this id`, { param })
    }
    return { role: 'tool', call: each.tool_call_id, name, text: textOf(each.content) }
  })
}

function textOf(value: z.output<typeof assistantContent>): string {
  if (typeof value === 'string') return value
  return joined(value.map((part) => (part.type === 'text' ? part.text : part.refusal)))
}
