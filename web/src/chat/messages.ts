/** What a conversation is made of, as it is kept in the browser and exported. */
import * as z from 'zod/mini'
import {
  chainChangeSchema,
  endReasonSchema,
  hopSchema,
  type PromptMessage,
  usageSchema
} from '../api/completions.ts'

/** In characters. A model's context is a few hundred thousand at most. */
const MAX_TEXT = 4_000_000
const text = z.string().check(z.maxLength(MAX_TEXT))
const short = z.string().check(z.maxLength(1_024))
const id = z.string().check(z.minLength(1), z.maxLength(64))
/** Milliseconds since 1970. */
const time = z.number().check(z.minimum(0))
const optionalNumber = z.optional(z.number())

export const samplingSchema = z.object({
  temperature: optionalNumber,
  top_p: optionalNumber,
  top_k: optionalNumber,
  min_p: optionalNumber,
  max_tokens: optionalNumber,
  seed: optionalNumber,
  reasoning_effort: z.optional(z.enum(['none', 'minimal', 'low', 'medium', 'high']))
})

/** A text file that a person put beside their words. */
const attachmentSchema = z.object({ name: short, text })
export type Attachment = z.infer<typeof attachmentSchema>

/** What is known of how an answer came to be. Times in milliseconds. */
const reportSchema = z.object({
  firstTokenMs: optionalNumber,
  tokensPerSecond: optionalNumber,
  usage: z.optional(usageSchema),
  hops: z.optional(z.array(hopSchema).check(z.maxLength(1_024))),
  changes: z.array(chainChangeSchema).check(z.maxLength(1_024)),
  end: z.optional(endReasonSchema)
})
export type Report = z.infer<typeof reportSchema>

export const messageSchema = z.object({
  id,
  conversation: id,
  /** What it follows; null: it begins the conversation. Several that follow the same are branches. */
  parent: z.nullable(id),
  role: z.enum(['user', 'assistant']),
  text,
  at: time,
  attachments: z.optional(z.array(attachmentSchema).check(z.maxLength(64))),
  /** Who answered. */
  model: z.optional(short),
  reasoning: z.optional(text),
  reasoningMs: optionalNumber,
  /** `cut`: the page was closed in the middle. */
  state: z.enum(['answering', 'done', 'stopped', 'failed', 'cut']),
  failure: z.optional(z.object({ code: short, message: text, retryAt: z.optional(time) })),
  report: z.optional(reportSchema)
})
export type Message = z.infer<typeof messageSchema>

export const conversationSchema = z.object({
  id,
  title: short,
  model: z.optional(short),
  system: text,
  sampling: samplingSchema,
  /** The last message of what is shown; null: there is none yet. */
  leaf: z.nullable(id),
  at: time,
  changedAt: time
})
export type Conversation = z.infer<typeof conversationSchema>

/** 16 random letters: `crypto.randomUUID` is only there on secure origins, which a node in the house is not. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => (byte % 32).toString(32)).join('')
}

export function newConversation(now: number, like?: Pick<Conversation, 'model'>): Conversation {
  const title = ''
  return {
    id: newId(),
    title,
    model: like?.model,
    system: '',
    sampling: {},
    leaf: null,
    at: now,
    changedAt: now
  }
}

/** Enough to tell conversations apart in a list. */
const TITLE_LENGTH = 60

/** The first words of what was asked first. */
export function titleOf(text: string): string {
  const line = text.trim().replace(/\s+/g, ' ')
  return line.length <= TITLE_LENGTH ? line : `${line.slice(0, TITLE_LENGTH).replace(/\s\S*$/, '')}…`
}

/** What the model gets to read: answers that have no text say nothing, and reasoning is not repeated. */
export function promptOf(system: string, path: readonly Message[]): PromptMessage[] {
  const said = path.filter(({ role, text }) => role === 'user' || text !== '')
  const messages = said.map((message) => ({ role: message.role, content: contentOf(message) }))
  return system.trim() === '' ? messages : [{ role: 'system', content: system }, ...messages]
}

/** Files come first, each between fences that it has not itself, so that it can't end early. */
function contentOf({ text, attachments = [] }: Message): string {
  const files = attachments.map((file) => {
    const longest = Math.max(2, ...(file.text.match(/`+/g) ?? []).map((run) => run.length))
    const fence = '`'.repeat(longest + 1)
    return `File: ${file.name.replace(/\s+/g, ' ')}\n${fence}\n${file.text}\n${fence}`
  })
  return [...files, text].join('\n\n')
}
