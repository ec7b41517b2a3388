/**
 * What reaches llama.cpp must not trip an assertion there (it would abort the whole process), so every call is
 * checked here, in the parent. What depends on a sequence's length is checked beside that length, in the
 * engine's process.
 */
import * as z from 'zod'
import type { EngineDescription, Output, RowGroup, SamplerSettings } from './contract.ts'
import { EngineError } from './errors.ts'

/** Longest grammar and longest text, in characters: parsing them is the engine's time. */
const MAX_GRAMMAR = 262_144
const MAX_TEXT = 16_777_216
const MAX_LIST = 4096
/** Each is looked for at every token. */
const MAX_TRIGGERS = 16
const MAX_TRIGGER = 64
/** As OpenAI's API has at most. */
const MAX_ALTERNATIVES = 20
/** A bias beyond any logit, yet finite after every division that follows. */
const MAX_BIAS = 1e6

const OUTPUTS: readonly Output[] = [
  'none',
  'hidden',
  'sample-last',
  'sample-all',
  'logits-last',
  'logits-all'
]

const count = z
  .int()
  .min(0)
  .max(2 ** 31 - 1)
const penalty = z.number().min(-100).max(100)
const SETTINGS = z.object({
  temperature: z.number().min(0).max(100),
  topK: count.optional(),
  topP: z.number().min(0).max(1).optional(),
  minP: z.number().min(0).max(1).optional(),
  penaltyLastN: count.optional(),
  repeatPenalty: z.number().min(1e-3).max(1e3).optional(),
  frequencyPenalty: penalty.optional(),
  presencePenalty: penalty.optional(),
  dry: z
    .object({
      multiplier: z.number().min(0).max(100),
      base: z.number().min(1).max(100),
      allowedLength: count,
      penaltyLastN: count.or(z.literal(-1)),
      // each is compared with every token of the vocabulary
      breakers: z.array(z.string().min(1).max(64)).max(16)
    })
    .optional(),
  logitBias: z
    .array(z.object({ token: count, bias: z.number().min(-MAX_BIAS).max(MAX_BIAS).or(z.literal(-Infinity)) }))
    .max(MAX_LIST)
    .optional(),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1),
  grammar: z.string().max(MAX_GRAMMAR).optional(),
  grammarTriggers: z.array(z.string().min(1).max(MAX_TRIGGER)).max(MAX_TRIGGERS).optional(),
  generatedFrom: count.optional(),
  alternatives: count.max(MAX_ALTERNATIVES).optional()
})

function fail(message: string): never {
  throw new EngineError('INPUT', message)
}

function integer(value: number, low: number, high: number, name: string): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    fail(`${name} is ${String(value)}: it must be an integer from ${low} to ${high}.`)
  }
}

export function checkSequence(description: EngineDescription, sequence: number): void {
  integer(sequence, 0, description.sequences - 1, 'sequence')
}

export function checkLength(description: EngineDescription, length: number): void {
  integer(length, 0, description.context, 'length')
}

/** `known`: the span embeds or samples, so its vocabulary is the model's and ids can be checked. */
export function checkTokens(description: EngineDescription, tokens: Int32Array, known = true): void {
  if (!(tokens instanceof Int32Array)) fail('The token ids are no Int32Array.')
  if (!known) return
  for (const token of tokens) {
    if (token < 0 || token >= description.vocabulary) {
      fail(`Token ${token} is outside the vocabulary of ${description.vocabulary}.`)
    }
  }
}

export function checkGroups(
  description: EngineDescription,
  groups: readonly RowGroup[],
  span: { embeds: boolean; head: boolean }
): void {
  if (!Array.isArray(groups) || groups.length === 0) fail('There are no rows to run.')
  const seen = new Set<number>()
  let rows = 0
  let outputs = 0
  for (const group of groups) {
    if (typeof group !== 'object' || group === null) fail('A group of rows is no object.')
    checkTokens(description, group.tokens, span.embeds || span.head)
    const count = group.tokens.length
    checkSequence(description, group.sequence)
    if (seen.has(group.sequence)) fail(`Sequence ${group.sequence} is in the batch twice.`)
    seen.add(group.sequence)
    if (count === 0) fail(`Sequence ${group.sequence} has no rows.`)
    integer(group.position, 0, description.context - count, 'position')
    checkHidden(description, group, span.embeds)
    checkOutput(description, group, span.head)
    rows += count
    outputs += countOutputs(group)
  }
  const injected = groups[0]?.hidden !== undefined
  if (groups.some((group) => (group.hidden !== undefined) !== injected)) {
    fail('A batch is either all token ids or all hidden states.')
  }
  if (rows > description.maxRows) fail(`${rows} rows: a batch takes ${description.maxRows} at most.`)
  if (span.head && outputs > description.maxOutputs) {
    fail(`${outputs} rows with logits: a batch takes ${description.maxOutputs} at most.`)
  }
}

function checkHidden(description: EngineDescription, group: RowGroup, embeds: boolean): void {
  const { hidden } = group
  if (hidden === undefined) {
    if (!embeds) fail('This span does not embed token ids: its rows need hidden states.')
    return
  }
  if (!(hidden instanceof Float32Array)) fail('The hidden states are no Float32Array.')
  const expected = group.tokens.length * description.width
  if (hidden.length !== expected) fail(`${hidden.length} floats for ${expected}: rows times width.`)
  for (const value of hidden) {
    if (!Number.isFinite(value)) fail('A hidden state has a value that is not finite.')
  }
}

function checkOutput(description: EngineDescription, group: RowGroup, head: boolean): void {
  const { output, leaveAfter } = group
  if (!OUTPUTS.includes(output)) fail(`There is no output '${String(output)}'.`)
  if (output === 'hidden') {
    if (!description.hiddenStates) fail('This span was loaded without hidden states.')
    if (leaveAfter !== undefined) integer(leaveAfter, 0, description.blocks - 1, 'leaveAfter')
  } else if (output !== 'none' && !head) {
    fail(`This span has no head: it cannot give '${output}'.`)
  }
}

function countOutputs(group: RowGroup): number {
  if (group.output === 'none') return 0
  return group.output.endsWith('-last') ? 1 : group.tokens.length
}

/** Throws for settings that can't be sampled with; what it returns is plain data without anything else. */
export function checkSampler(description: EngineDescription, settings: SamplerSettings): SamplerSettings {
  const parsed = SETTINGS.safeParse(settings)
  if (!parsed.success) {
    const [{ path, message }] = parsed.error.issues as [z.core.$ZodIssue]
    fail(`The sampler's settings can't be used: ${path.join('.')}: ${message}.`)
  }
  const { data } = parsed
  for (const { token } of data.logitBias ?? []) {
    if (token >= description.vocabulary) fail(`logitBias: there is no token ${token}.`)
  }
  const longest = Math.max(data.penaltyLastN ?? 0, data.generatedFrom ?? 0, data.dry?.penaltyLastN ?? 0)
  if (longest > description.context) fail(`A setting looks ${longest} tokens back, beyond the context.`)
  return data
}

export function checkText(text: string): void {
  if (typeof text !== 'string') fail('The text is no string.')
  if (text.length > MAX_TEXT) fail(`The text has over ${MAX_TEXT} characters.`)
}

export function checkBytes(bytes: Uint8Array): void {
  if (!(bytes instanceof Uint8Array)) fail('The saved state is no Uint8Array.')
}
