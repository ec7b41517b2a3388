/** What `/v1/messages` takes, and the internal request that it makes. */
import { z } from 'zod'
import type {
  AnswerRequest,
  Call,
  Conversation,
  Message,
  ReasoningEffort,
  ToolChoice
} from '../../chat/index.ts'
import { GatewayError } from '../errors.ts'
import {
  effort,
  joined,
  jsonSchema,
  model,
  refused,
  samplingFields,
  toFormat,
  tokenCount,
  toolName,
  toReasoning,
  toSampling,
  toToolChoice,
  toTools,
  unknownType
} from './fields.ts'

const textBlock = z.object({ type: z.literal('text'), text: z.string() })
const textContent = z.union([
  z.string(),
  z.array(z.discriminatedUnion('type', [textBlock], { error: unknownType }))
])
const resultBlock = z.object({
  type: z.literal('tool_result'),
  tool_use_id: z.string().min(1),
  content: textContent.nullish(),
  is_error: z.boolean().nullish()
})
const callBlock = z.object({
  type: z.literal('tool_use'),
  id: z.string().min(1),
  name: z.string().min(1),
  input: jsonSchema
})
const thinkingBlock = z.object({ type: z.literal('thinking'), thinking: z.string() })
const redactedBlock = z.object({ type: z.literal('redacted_thinking') })

const userBlocks = z.discriminatedUnion('type', [textBlock, resultBlock], { error: unknownType })
const assistantBlocks = z.discriminatedUnion('type', [textBlock, callBlock, thinkingBlock, redactedBlock], {
  error: unknownType
})
const message = z.discriminatedUnion(
  'role',
  [
    z.object({ role: z.literal('user'), content: z.union([z.string(), z.array(userBlocks).min(1)]) }),
    z.object({ role: z.literal('assistant'), content: z.union([z.string(), z.array(assistantBlocks)]) }),
    z.object({ role: z.literal('system'), content: textContent })
  ],
  { error: 'the role has to be user or assistant' }
)

const tool = z.object({
  type: z
    .literal('custom', { error: 'only tools with a name and an input_schema can be used here' })
    .nullish(),
  name: toolName,
  description: z.string().nullish(),
  input_schema: jsonSchema
})
const isSingle = { disable_parallel_tool_use: z.boolean().nullish() }
const choice = z.discriminatedUnion('type', [
  z.object({ type: z.literal('auto'), ...isSingle }),
  z.object({ type: z.literal('any'), ...isSingle }),
  z.object({ type: z.literal('tool'), name: z.string(), ...isSingle }),
  z.object({ type: z.literal('none') })
])
const thinking = z.discriminatedUnion('type', [
  z.object({ type: z.literal('enabled'), budget_tokens: z.int().min(1) }),
  z.object({ type: z.literal('adaptive') }),
  z.object({ type: z.literal('disabled') })
])
const jsonFormat = z.object({ type: z.literal('json_schema'), schema: jsonSchema })

const prompt = {
  model,
  messages: z.array(message).min(1),
  system: textContent.nullish(),
  thinking: thinking.nullish(),
  output_config: z.object({ effort: effort.nullish(), format: jsonFormat.nullish() }).nullish(),
  tools: z.array(tool).nullish(),
  tool_choice: choice.nullish(),
  container: refused('there are no containers here'),
  mcp_servers: refused('tools are called by the program that asks, not here')
}

export const countRequest = z.object(prompt)
export const messagesRequest = z.object({
  ...prompt,
  max_tokens: tokenCount,
  stop_sequences: z.array(z.string().min(1).max(1024)).max(16).nullish(),
  stream: z.boolean().nullish(),
  ...samplingFields
})

type CountRequest = z.output<typeof countRequest>
type MessagesRequest = z.output<typeof messagesRequest>

/** What the internal request's fields are called here. */
export const messagesParams: Readonly<Record<string, string>> = {
  input: 'messages',
  maxTokens: 'max_tokens',
  stop: 'stop_sequences',
  format: 'output_config.format',
  toolChoice: 'tool_choice',
  reasoning: 'thinking'
}

/** Throws a GatewayError INPUT. */
export function toPrompt(body: CountRequest): Pick<AnswerRequest, 'model' | 'input' | 'format'> {
  const format = body.output_config?.format
  return {
    model: body.model,
    input: toConversation(body),
    format: toFormat(format?.type, format?.schema)
  }
}

/** Throws a GatewayError INPUT. */
export function messagesRequests(body: MessagesRequest): readonly AnswerRequest[] {
  const { max_tokens: maxTokens, stop_sequences: stop } = body
  return [{ ...toPrompt(body), maxTokens, stop: stop ?? [], sampling: toSampling(body) }]
}

function toConversation(body: CountRequest): Conversation {
  const tools = toTools((body.tools ?? []).map((each) => ({ ...each, parameters: each.input_schema })))
  const { tool_choice: chosen } = body
  const system: Message[] = body.system ? [{ role: 'system', text: textOf(body.system) }] : []
  if (body.messages.at(-1)?.role === 'assistant') {
    const text = 'the last message has to be the user’s: answers can’t be begun for the model'
    throw new GatewayError('INPUT', text, { param: 'messages' })
  }
  return {
    kind: 'conversation',
    messages: [...system, ...toMessages(body.messages)],
    tools,
    toolChoice: toToolChoice(choiceOf(chosen), tools),
    parallelCalls: !(chosen && 'disable_parallel_tool_use' in chosen && chosen.disable_parallel_tool_use),
    reasoning: reasoningOf(body)
  }
}

function choiceOf(chosen: CountRequest['tool_choice']): ToolChoice | undefined {
  if (!chosen) return undefined
  if (chosen.type === 'tool') return { name: chosen.name }
  return chosen.type === 'any' ? 'required' : chosen.type
}

/** Templates know efforts, not budgets: 4,096 tokens are Claude's smallest steps, 16,384 what guides recommend. */
function reasoningOf({ thinking: asked, output_config: output }: CountRequest): ReasoningEffort | undefined {
  if (asked?.type === 'disabled') return 'none'
  if (output?.effort) return toReasoning(output.effort)
  if (asked?.type !== 'enabled') return undefined
  if (asked.budget_tokens <= 4_096) return 'low'
  return asked.budget_tokens <= 16_384 ? 'medium' : 'high'
}

function toMessages(messages: CountRequest['messages']): readonly Message[] {
  const names = new Map<string, string>()
  return messages.flatMap((each, index): readonly Message[] => {
    if (each.role === 'system') return [{ role: 'system', text: textOf(each.content) }]
    if (typeof each.content === 'string') return [{ role: each.role, text: each.content }]
    if (each.role === 'user') return userMessages(each.content, names, index)
    const message = assistantMessage(each.content)
    for (const { id, name } of message.calls) names.set(id, name)
    return [message]
  })
}

/** In the order of their blocks: results of tools are messages of their own. */
function userMessages(
  blocks: readonly z.output<typeof userBlocks>[],
  names: ReadonlyMap<string, string>,
  index: number
): readonly Message[] {
  const messages: Message[] = []
  for (const block of blocks) {
    const last = messages.at(-1)
    if (block.type === 'tool_result') messages.push(resultMessage(block, names, index))
    else if (last?.role === 'user') {
      messages[messages.length - 1] = { role: 'user', text: joined([last.text, block.text]) }
    } else messages.push({ role: 'user', text: block.text })
  }
  return messages
}

function resultMessage(
  block: z.output<typeof resultBlock>,
  names: ReadonlyMap<string, string>,
  index: number
): Message {
  const { tool_use_id: call, content, is_error: isError } = block
  const name = names.get(call)
  if (name === undefined) {
    const param = `messages[${index}].content`
    throw new GatewayError('INPUT', `${param}: no block before is a tool_use with the id of this result`, {
      param
    })
  }
  const text = textOf(content ?? '')
  return { role: 'tool', call, name, text: isError ? `Error: ${text}` : text }
}

function assistantMessage(blocks: readonly z.output<typeof assistantBlocks>[]) {
  const texts: string[] = []
  const thoughts: string[] = []
  const calls: Call[] = []
  for (const block of blocks) {
    if (block.type === 'text') texts.push(block.text)
    else if (block.type === 'thinking') thoughts.push(block.thinking)
    else if (block.type === 'tool_use') {
      calls.push({ id: block.id, name: block.name, arguments: JSON.stringify(block.input) })
    }
  }
  const reasoning = thoughts.length > 0 ? joined(thoughts) : undefined
  return { role: 'assistant', text: joined(texts), reasoning, calls } as const
}

function textOf(content: z.output<typeof textContent>): string {
  return typeof content === 'string' ? content : joined(content.map((block) => block.text))
}
