/** `/v1/chat/completions`, streamed, with what the gateway tells of queue and chain. */
import * as z from 'zod/mini'
import { EventReader } from './completions-events.ts'
import { apiKey } from './http.ts'

export type Effort = 'none' | 'minimal' | 'low' | 'medium' | 'high'

/** What is absent is as the model's files recommend it. */
export interface Sampling {
  readonly temperature?: number | undefined
  readonly top_p?: number | undefined
  readonly top_k?: number | undefined
  readonly min_p?: number | undefined
  readonly max_tokens?: number | undefined
  readonly seed?: number | undefined
  readonly reasoning_effort?: Effort | undefined
}

export interface PromptMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

export interface CompletionRequest extends Sampling {
  readonly model: string
  readonly messages: readonly PromptMessage[]
}

const count = z.number()
/** Times in milliseconds, per row in the median. */
export const hopSchema = z.object({
  peer: z.string(),
  start: count,
  end: count,
  queueMs: count,
  computeMs: count,
  bytesOut: count
})
export type Hop = z.infer<typeof hopSchema>

/** In milliseconds. */
export const timingsSchema = z.object({
  templateMs: count,
  tokenizeMs: count,
  chainMs: count,
  firstTokenMs: count,
  decodeMs: count
})
export type Timings = z.infer<typeof timingsSchema>

export const usageSchema = z.object({ prompt_tokens: count, completion_tokens: count })
export type Usage = z.infer<typeof usageSchema>

const CHANGES = ['lost', 'waiting', 'repaired', 'leaving', 'relayed'] as const
/** Something that happened to the chain while it answered. */
export const chainChangeSchema = z.object({ change: z.enum(CHANGES), message: z.string() })
export type ChainChange = z.infer<typeof chainChangeSchema>

export const endReasonSchema = z.enum(['stop', 'length', 'tool_calls'])
export type EndReason = z.infer<typeof endReasonSchema>

export type CompletionEvent =
  | { readonly type: 'queued'; readonly position: number }
  | ({ readonly type: 'chain' } & ChainChange)
  /** A chain is open: the prompt is read. */
  | { readonly type: 'start' }
  | { readonly type: 'reasoning'; readonly text: string }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'end'; readonly reason: EndReason }
  | {
      readonly type: 'report'
      readonly usage?: Usage | undefined
      readonly hops?: Hop[] | undefined
      readonly timings?: Timings | undefined
    }

const chunkSchema = z.object({
  choices: z.array(
    z.object({
      delta: z.object({
        role: z.optional(z.string()),
        content: z.nullish(z.string()),
        reasoning_content: z.nullish(z.string())
      }),
      finish_reason: z.nullish(endReasonSchema)
    })
  ),
  usage: z.nullish(usageSchema),
  shoal: z.optional(z.array(z.object({ hops: z.array(hopSchema), timings: timingsSchema })))
})

const errorSchema = z.object({ error: z.object({ message: z.string(), code: z.nullish(z.string()) }) })

/** Thrown where a request is refused or its answer fails: the gateway's own words, and its code. */
export class CompletionError extends Error {
  readonly code: string
  readonly retryAfterSeconds: number | undefined

  constructor(code: string, message: string, retryAfterSeconds?: number) {
    super(message)
    this.name = 'CompletionError'
    this.code = code
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export interface CompleteOptions {
  readonly signal: AbortSignal
  /** For tests. */
  readonly fetch?: typeof fetch
}

/** Throws a CompletionError, or the signal's reason. Whoever stops reading ends the answer. */
export async function* complete(
  request: CompletionRequest,
  { signal, fetch = globalThis.fetch }: CompleteOptions
): AsyncGenerator<CompletionEvent, void> {
  const body = JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } })
  const key = apiKey()
  const headers = {
    'content-type': 'application/json',
    'x-shoal-details': '1',
    'x-shoal-page': '1',
    ...(key !== undefined && { authorization: `Bearer ${key}` })
  }
  const response = await fetch('/v1/chat/completions', { method: 'POST', headers, body, signal }).catch(lost)
  if (!response.ok || response.body === null) throw await refusal(response)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  const events = new EventReader()
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(lost)
      if (done) break
      for (const { kind, text } of events.push(value)) {
        if (kind === 'comment') yield* fromComment(text)
        else if (text === '[DONE]') return
        else yield* fromChunk(text)
      }
    }
  } finally {
    await reader.cancel().catch(() => {}) // the answer ends at its source, too
  }
  throw new CompletionError('connection_lost', 'The answer broke off: the connection to the node is gone.')
}

function lost(error: unknown): never {
  if (error instanceof DOMException && error.name === 'AbortError') throw error
  throw new CompletionError('connection_lost', 'Shoal does not answer. Is it still running?')
}

async function refusal(response: Response): Promise<CompletionError> {
  const parsed = errorSchema.safeParse(await response.json().catch(() => undefined))
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  const retryAfter = Number.isFinite(seconds) ? seconds : undefined
  if (!parsed.success)
    return new CompletionError('unknown', `the node answered ${response.status}`, retryAfter)
  const { message, code } = parsed.data.error
  return new CompletionError(code ?? 'invalid_request', message, retryAfter)
}

function fromComment(text: string): CompletionEvent[] {
  const queued = /^queued, position (\d+)$/.exec(text)
  if (queued !== null) return [{ type: 'queued', position: Number(queued[1]) }]
  if (!text.startsWith('shoal ')) return []
  const parsed = chainChangeSchema.safeParse(parseJson(text.slice('shoal '.length)))
  return parsed.success ? [{ type: 'chain', ...parsed.data }] : []
}

/** Throws the CompletionError that a stream ends with. */
function fromChunk(text: string): CompletionEvent[] {
  const value = parseJson(text)
  const failed = errorSchema.safeParse(value)
  if (failed.success)
    throw new CompletionError(failed.data.error.code ?? 'unknown', failed.data.error.message)
  const parsed = chunkSchema.safeParse(value)
  if (!parsed.success) throw new CompletionError('unknown', 'the node answers what this page can’t read')
  const { choices, usage, shoal } = parsed.data
  const events: CompletionEvent[] = []
  for (const { delta, finish_reason } of choices) {
    if (delta.role !== undefined) events.push({ type: 'start' })
    if (delta.reasoning_content) events.push({ type: 'reasoning', text: delta.reasoning_content })
    if (delta.content) events.push({ type: 'text', text: delta.content })
    if (finish_reason) events.push({ type: 'end', reason: finish_reason })
  }
  const [report] = shoal ?? []
  if (usage || report) events.push({ type: 'report', usage: usage ?? undefined, ...report })
  return events
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
