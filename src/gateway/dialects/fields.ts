/** What several dialects have in common: fields, and how they become the internal request's. */
import { z } from 'zod'
import type { Format, JsonSchema, ReasoningEffort, Sampling, Tool, ToolChoice } from '../../chat/index.ts'
import { GatewayError } from '../errors.ts'

/** Schemas of people are below 10 deep and some kilobytes long; grammars made of them grow with both. */
const MAX_SCHEMA_DEPTH = 64
const MAX_SCHEMA_VALUES = 20_000
/** As OpenAI allows them, or more. */
export const MAX_ALTERNATIVES = 20
/** Each is computed: a request may not be worth more than some clients. */
export const MAX_ANSWERS = 16

export const model = z.string().min(1).max(512).describe('Name, alias or id of a model; see /v1/models')
export const tokenCount = z
  .int()
  .min(1)
  .max(2 ** 31 - 1)
export const maybeStop = z
  .union([z.string().min(1).max(1024), z.array(z.string().min(1).max(1024)).max(16)])
  .nullish()
  .describe('The answer ends before the first of these')

/** JSON Schema of whoever asks: bounded, not checked otherwise. */
export const jsonSchema = z.record(z.string(), z.unknown()).refine(isBounded, {
  error: `a JSON Schema may be ${MAX_SCHEMA_DEPTH} levels deep and have ${MAX_SCHEMA_VALUES} values`
})

/** Without recursion: what comes may be as deep as a body is long. */
function isBounded(schema: unknown): boolean {
  let level: unknown[] = [schema]
  let count = 0
  for (let depth = 0; level.length > 0; depth++) {
    count += level.length
    if (depth > MAX_SCHEMA_DEPTH || count > MAX_SCHEMA_VALUES) return false
    level = level.flatMap((value) =>
      typeof value === 'object' && value !== null ? Object.values(value) : []
    )
  }
  return true
}

/** How tokens are drawn, as OpenAI and llama.cpp name it. */
export const samplingFields = {
  temperature: z.number().min(0).max(2).nullish().describe('0: always the most likely token'),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(0).max(1_000_000).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  repeat_penalty: z.number().gt(0).max(4).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d{1,9}$/), z.number().min(-100).max(100))
    .refine((bias) => Object.keys(bias).length <= 1024, { error: 'at most 1024 tokens can be biased' })
    .nullish()
    .describe('By token id; -100 bans a token'),
  seed: z.int().nullish()
}

const samplingSchema = z.object(samplingFields)

/** `index`: which of several answers, each of which draws for itself. */
export function toSampling(fields: z.output<typeof samplingSchema>, index = 0): Sampling {
  return {
    temperature: fields.temperature ?? undefined,
    topP: fields.top_p ?? undefined,
    topK: fields.top_k ?? undefined,
    minP: fields.min_p ?? undefined,
    frequencyPenalty: fields.frequency_penalty ?? undefined,
    presencePenalty: fields.presence_penalty ?? undefined,
    repeatPenalty: fields.repeat_penalty ?? undefined,
    logitBias: Object.entries(fields.logit_bias ?? {}).map(([token, bias]) => ({
      token: Number(token),
      bias
    })),
    seed: typeof fields.seed === 'number' ? (fields.seed + index) >>> 0 : undefined
  }
}

export function toStop(stop: z.output<typeof maybeStop>): readonly string[] {
  return typeof stop === 'string' ? [stop] : (stop ?? [])
}

/** `xhigh` and `max` are more than any open model's template knows. */
export const effort = z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'])

export function toReasoning(value: z.output<typeof effort> | null | undefined): ReasoningEffort | undefined {
  return value === 'xhigh' || value === 'max' ? 'high' : (value ?? undefined)
}

/** A field that would change the answer and can't be honoured. */
export function refused(message: string, allowed: readonly unknown[] = []): z.ZodOptional<z.ZodUnknown> {
  const isAllowed = (value: unknown): boolean =>
    value === undefined || value === null || allowed.includes(value)
  return z.unknown().refine(isAllowed, { error: message }).describe(`Refused: ${message}`).optional()
}

const UNREADABLE: Readonly<Record<string, string>> = {
  image_url: 'images',
  input_image: 'images',
  image: 'images',
  input_audio: 'audio',
  file: 'files',
  input_file: 'files',
  document: 'documents'
}

/** What a discriminated union says of a type that it does not know. */
export function unknownType(issue: { readonly input?: unknown }): string {
  const { type } = (issue.input ?? {}) as { readonly type?: unknown }
  if (typeof type !== 'string') return 'a part needs a `type`'
  const what = Object.hasOwn(UNREADABLE, type) ? UNREADABLE[type] : `${JSON.stringify(type.slice(0, 64))}`
  return `models here read and write text only: ${what} can't be used`
}

export const toolName = z
  .string()
  .regex(/^[a-zA-Z0-9_.-]{1,128}$/, { error: 'letters, digits, _, - and . only' })

interface NamedTool {
  readonly name: string
  readonly description?: string | null | undefined
  readonly parameters?: JsonSchema | null | undefined
}

export function toTools(tools: readonly NamedTool[]): readonly Tool[] {
  const names = new Set(tools.map((tool) => tool.name))
  if (names.size < tools.length)
    throw new GatewayError('INPUT', 'two tools have one name', { param: 'tools' })
  return tools.map(({ name, description, parameters }) => ({
    name,
    description: description ?? undefined,
    parameters: parameters ?? { type: 'object', properties: {} }
  }))
}

/** Throws a GatewayError INPUT where the choice is of a tool that is not there. */
export function toToolChoice(choice: ToolChoice | undefined, tools: readonly Tool[]): ToolChoice {
  if (choice === undefined) return tools.length > 0 ? 'auto' : 'none'
  const isThere = typeof choice === 'string' || tools.some((tool) => tool.name === choice.name)
  if (!isThere) throw new GatewayError('INPUT', 'there is no such tool', { param: 'tool_choice' })
  if (choice === 'required' && tools.length === 0) {
    throw new GatewayError('INPUT', 'there are no tools to choose from', { param: 'tool_choice' })
  }
  return choice
}

/** Parts of one message are paragraphs of it. */
export function joined(parts: readonly string[]): string {
  return parts.join('\n')
}

const formatSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text') }),
  z.object({ type: z.literal('json_object') })
])
type PlainFormat = z.output<typeof formatSchema>['type']

/** `schema`: of the format `json_schema`; without one, any JSON object will do. */
export function toFormat(type: PlainFormat | 'json_schema' | undefined, schema?: JsonSchema | null): Format {
  if (type === undefined || type === 'text') return { kind: 'text' }
  return schema ? { kind: 'schema', schema } : { kind: 'json' }
}
