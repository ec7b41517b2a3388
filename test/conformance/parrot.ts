/**
 * A stand-in for a model: it speaks in words that its prompt and seed decide, keeps to every field of a request, and
 * counts each word as a token.
 */
import { createHash } from 'node:crypto'
import {
  AnswerError,
  type AnswerEvent,
  type AnswerOptions,
  type AnswerRequest,
  type Answers,
  type Conversation,
  type DrawnLog,
  type JsonSchema,
  type ModelCard,
  type Tool
} from '../../src/chat/index.ts'

const WORDS = [
  'tide',
  ' and',
  ' stone',
  ' under',
  ' a',
  ' grey',
  ' sky',
  '.\n',
  ' café',
  ' 日本',
  ' one',
  ' two'
]
const CONTEXT = 512
/** When a parrot has said all it has to say. */
const LONGEST = 200

const card = { id: '0'.repeat(64), aliases: [], blockCount: 6, context: CONTEXT, nodes: 3 }
export const PARROT: ModelCard = { ...card, name: 'demo/parrot', isCovered: true, missing: [] }
export const HOLED: ModelCard = { ...card, name: 'demo/holed', isCovered: false, missing: [[2, 4]] }

export class Parrot implements Answers {
  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async models(): Promise<readonly ModelCard[]> {
    return [PARROT, HOLED]
  }

  async model(name: string): Promise<ModelCard> {
    const found = [PARROT, HOLED].find((each) => each.name === name)
    if (found === undefined) throw new AnswerError('UNKNOWN_MODEL', `nobody knows the model ${name}`)
    return found
  }

  async count(request: Pick<AnswerRequest, 'model' | 'input' | 'format'>): Promise<number> {
    await this.model(request.model)
    return countOf(request.input)
  }

  async *answer(request: AnswerRequest, { signal }: AnswerOptions): AsyncGenerator<AnswerEvent, void> {
    const { name, isCovered, missing } = await this.model(request.model)
    if (!isCovered)
      throw new AnswerError('NOT_COVERED', 'nobody hosts some blocks', { missing, retrySeconds: 20 })
    const promptTokens = countOf(request.input)
    if (promptTokens >= CONTEXT) throw new AnswerError('TOO_LONG', `the prompt has ${promptTokens} tokens`)
    yield { type: 'start', model: name, promptTokens, hops: [] }
    const plan = planOf(request)
    const room = Math.min(request.maxTokens ?? CONTEXT, CONTEXT - promptTokens)
    let spent = 0
    for (const event of plan.events) {
      if (spent === room) break
      await new Promise(setImmediate)
      signal.throwIfAborted()
      spent += event.type === 'call' ? 0 : 1
      yield event
    }
    const isCut = spent === room && plan.events.length > room
    yield {
      type: 'end',
      reason: isCut ? 'length' : plan.reason,
      stop: isCut ? undefined : plan.stop,
      usage: {
        promptTokens,
        cachedTokens: 0,
        answerTokens: spent,
        reasoningTokens: plan.events.filter(({ type }) => type === 'reasoning').length
      },
      timings: { templateMs: 0, tokenizeMs: 0, chainMs: 0, firstTokenMs: 0, decodeMs: 0 },
      hops: []
    }
  }
}

interface Plan {
  readonly events: readonly AnswerEvent[]
  readonly reason: 'stop' | 'calls'
  readonly stop?: string | undefined
}

function planOf(request: AnswerRequest): Plan {
  const { input, format } = request
  const tools = input.kind === 'conversation' ? toolsToCall(input) : []
  if (tools.length > 0) return { events: tools.flatMap(callEvents), reason: 'calls' }
  if (format.kind === 'schema')
    return { events: inParts(JSON.stringify(sample(format.schema)), request), reason: 'stop' }
  if (format.kind === 'json') return { events: inParts('{"answer":"yes"}', request), reason: 'stop' }
  const { text, stop } = untilStop(wordsFor(request).join(''), request.stop)
  const thoughts =
    input.kind === 'conversation' && (input.reasoning ?? 'none') !== 'none' ? ['I', ' see'] : []
  const reasoning = thoughts.map((thought) => ({ type: 'reasoning', text: thought }) as const)
  return { events: [...reasoning, ...inParts(text, request)], reason: 'stop', stop }
}

/** It calls whatever it may, unless it has just been told what came of that. */
function toolsToCall({ tools, toolChoice, messages, parallelCalls }: Conversation): readonly Tool[] {
  if (toolChoice === 'none' || messages.at(-1)?.role === 'tool') return []
  if (typeof toolChoice === 'object') return tools.filter(({ name }) => name === toolChoice.name)
  return tools.slice(0, parallelCalls ? 2 : 1)
}

function callEvents({ name, parameters }: Tool, index: number): readonly AnswerEvent[] {
  const parts = JSON.stringify(sample(parameters)).match(/.{1,5}/gs) ?? []
  return [
    { type: 'call', index, id: `call_${index}${name}`, name },
    ...parts.map((text) => ({ type: 'arguments', index, text }) as const)
  ]
}

function wordsFor({ input, sampling }: AnswerRequest): readonly string[] {
  const isGreedy = sampling.temperature === 0
  const seed = isGreedy ? 0 : (sampling.seed ?? Math.random())
  const bytes = createHash('shake256', { outputLength: LONGEST })
    .update(JSON.stringify([input, seed]))
    .digest()
  const banned = new Set(sampling.logitBias?.filter(({ bias }) => bias === -100).map(({ token }) => token))
  const length = 60 + ((bytes[0] as number) % (LONGEST - 60))
  const drawn = [...bytes.subarray(0, length)].map((byte) => byte % WORDS.length)
  return drawn.filter((token) => !banned.has(token)).map((token) => WORDS[token] as string)
}

function untilStop(
  text: string,
  stops: readonly string[]
): { readonly text: string; readonly stop?: string } {
  const found = stops.filter((stop) => text.includes(stop)).map((stop) => ({ stop, at: text.indexOf(stop) }))
  const [first] = found.toSorted((a, b) => a.at - b.at)
  return first === undefined ? { text } : { text: text.slice(0, first.at), stop: first.stop }
}

function inParts(text: string, { alternatives }: AnswerRequest): readonly AnswerEvent[] {
  const parts = text.match(/\s*\S+|\s+$/g) ?? []
  return parts.map((part) => ({
    type: 'text',
    text: part,
    logs: alternatives === undefined ? [] : [log(part, alternatives)]
  }))
}

function log(text: string, count: number): DrawnLog {
  const likely = [text, ...WORDS].slice(0, count)
  const tokens = likely.map((word, index) => ({
    token: index,
    bytes: new TextEncoder().encode(word),
    logProbability: -0.5 - index
  }))
  return { token: 0, bytes: new TextEncoder().encode(text), logProbability: -0.5, alternatives: tokens }
}

function countOf(input: AnswerRequest['input']): number {
  if (input.kind === 'continuation') {
    return typeof input.prompt === 'string' ? input.prompt.split(/\s+/).length : input.prompt.length
  }
  return input.messages.reduce((sum, { text }) => sum + text.split(/\s+/).length + 3, input.tools.length * 20)
}

/** A value that a schema is content with, as far as schemas of these tests go. */
function sample(schema: JsonSchema, root: JsonSchema = schema): unknown {
  const at = (value: unknown): unknown => sample(value as JsonSchema, root)
  if (typeof schema.$ref === 'string') {
    return at(
      schema.$ref
        .split('/')
        .slice(1)
        .reduce<unknown>((value, key) => (value as JsonSchema)[key], root)
    )
  }
  if ('const' in schema) return schema.const
  if (Array.isArray(schema.enum)) return schema.enum[0]
  if (Array.isArray(schema.anyOf)) return at(schema.anyOf[0])
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
  if (type === 'array') return [at(schema.items ?? {})]
  if (type === 'string') return 'a "word"'
  if (type === 'integer' || type === 'number') return 3
  if (type === 'boolean') return true
  if (type === 'null') return null
  return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([key, value]) => [key, at(value)]))
}
