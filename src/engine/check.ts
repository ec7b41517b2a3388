/**
 * What reaches llama.cpp must not trip an assertion there (it would abort the whole process), so every call is
 * checked here, in the parent. What depends on a sequence's length is checked beside that length, in the
 * engine's process.
 */
import type { EngineDescription, RowGroup, SamplerSettings } from './contract.ts'
import { EngineError } from './errors.ts'

/** Longest grammar and longest text, in characters: parsing them is the engine's time. */
const MAX_GRAMMAR = 262_144
const MAX_TEXT = 16_777_216
const MAX_LIST = 4096

function fail(message: string): never {
  throw new EngineError('INPUT', message)
}

function integer(value: number, low: number, high: number, name: string): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    fail(`${name} is ${value}: it must be an integer from ${low} to ${high}.`)
  }
}

function finite(value: number | undefined, low: number, high: number, name: string): void {
  if (value === undefined) return
  if (!(value >= low && value <= high)) fail(`${name} is ${value}: it must be from ${low} to ${high}.`)
}

export function checkSequence(description: EngineDescription, sequence: number): void {
  integer(sequence, 0, description.sequences - 1, 'sequence')
}

export function checkLength(description: EngineDescription, length: number): void {
  integer(length, 0, description.context, 'length')
}

export function checkTokens(description: EngineDescription, tokens: Int32Array): void {
  for (const token of tokens) {
    if (token < 0 || token >= description.vocabulary) {
      fail(`Token ${token} is outside the vocabulary of ${description.vocabulary}.`)
    }
  }
}

/** `knowsTokens`: the span embeds or samples, so its vocabulary is the model's and ids can be checked. */
export function checkGroups(
  description: EngineDescription,
  groups: readonly RowGroup[],
  span: { embeds: boolean; head: boolean }
): void {
  if (groups.length === 0) fail('There are no rows to run.')
  const seen = new Set<number>()
  let rows = 0
  let outputs = 0
  for (const group of groups) {
    const count = group.tokens.length
    checkSequence(description, group.sequence)
    if (seen.has(group.sequence)) fail(`Sequence ${group.sequence} is in the batch twice.`)
    seen.add(group.sequence)
    if (count === 0) fail(`Sequence ${group.sequence} has no rows.`)
    integer(group.position, 0, description.context - count, 'position')
    checkHidden(description, group, span.embeds)
    if (span.embeds || span.head) checkTokens(description, group.tokens)
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
  const expected = group.tokens.length * description.width
  if (hidden.length !== expected) fail(`${hidden.length} floats for ${expected}: rows times width.`)
  for (const value of hidden) {
    if (!Number.isFinite(value)) fail('A hidden state has a value that is not finite.')
  }
}

function checkOutput(description: EngineDescription, group: RowGroup, head: boolean): void {
  const { output, leaveAfter } = group
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

export function checkSampler(description: EngineDescription, settings: SamplerSettings): void {
  const last = description.context
  finite(settings.temperature, 0, 100, 'temperature')
  finite(settings.topP, 0, 1, 'topP')
  finite(settings.minP, 0, 1, 'minP')
  finite(settings.repeatPenalty, 1e-3, 1e3, 'repeatPenalty')
  finite(settings.frequencyPenalty, -100, 100, 'frequencyPenalty')
  finite(settings.presencePenalty, -100, 100, 'presencePenalty')
  if (settings.topK !== undefined) integer(settings.topK, 0, 2 ** 31 - 1, 'topK')
  if (settings.penaltyLastN !== undefined) integer(settings.penaltyLastN, 0, last, 'penaltyLastN')
  if (settings.generatedFrom !== undefined) integer(settings.generatedFrom, 0, last, 'generatedFrom')
  integer(settings.seed, 0, 2 ** 32 - 1, 'seed')
  if ((settings.grammar?.length ?? 0) > MAX_GRAMMAR) fail(`The grammar is over ${MAX_GRAMMAR} characters.`)
  if ((settings.logitBias?.length ?? 0) > MAX_LIST) fail(`logitBias has over ${MAX_LIST} entries.`)
  for (const { token, bias } of settings.logitBias ?? []) {
    integer(token, 0, description.vocabulary - 1, 'logitBias token')
    if (Number.isNaN(bias)) fail('logitBias has a value that is not a number.')
  }
  const { dry } = settings
  if (dry === undefined) return
  finite(dry.multiplier, 0, 100, 'dry.multiplier')
  finite(dry.base, 1, 100, 'dry.base')
  integer(dry.allowedLength, 0, last, 'dry.allowedLength')
  integer(dry.penaltyLastN, -1, last, 'dry.penaltyLastN')
  if (dry.breakers.length > 64 || dry.breakers.some((text) => text.length === 0 || text.length > 64)) {
    fail('dry.breakers takes at most 64 texts of 1 to 64 characters.')
  }
}

export function checkText(text: string): void {
  if (text.length > MAX_TEXT) fail(`The text has over ${MAX_TEXT} characters.`)
}
