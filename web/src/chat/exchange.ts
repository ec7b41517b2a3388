/** Conversations as a file, out and in. What comes in is anybody's: it is parsed, and gets ids of its own. */
import * as z from 'zod/mini'
import { type Conversation, conversationSchema, type Message, messageSchema, newId } from './messages.ts'

const FORMAT = 'shoal-conversations'
/** In bytes: more than anybody has written, and still read in a moment. */
const MAX_FILE = 256 * 1024 * 1024

export interface Exported {
  readonly conversation: Conversation
  /** Each after what it follows. */
  readonly messages: readonly Message[]
}

const fileSchema = z.object({
  format: z.literal(FORMAT),
  version: z.literal(1),
  conversations: z.array(
    z.object({
      conversation: conversationSchema,
      messages: z.array(messageSchema).check(z.maxLength(1_000_000))
    })
  )
})

export function toFile(conversations: readonly Exported[]): string {
  return JSON.stringify({ format: FORMAT, version: 1, conversations }, undefined, 1)
}

/** Throws an Error whose message can be shown. */
export function fromFile(text: string): Exported[] {
  if (text.length > MAX_FILE) throw new Error('This file is too large to be imported.')
  const parsed = fileSchema.safeParse(parseJson(text))
  if (!parsed.success) throw new Error('This is not a file that this page has exported.')
  return parsed.data.conversations.map(renewed)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** With ids of its own, so that it replaces nothing. Messages whose parent does not come before them are left out. */
function renewed({ conversation, messages }: Exported): Exported {
  const id = newId()
  const ids = new Map<string, string>()
  const kept: Message[] = []
  for (const message of messages) {
    const parent = message.parent === null ? null : ids.get(message.parent)
    if (parent === undefined || ids.has(message.id)) continue
    const state = message.state === 'answering' ? 'cut' : message.state
    const own = newId()
    ids.set(message.id, own)
    kept.push({ ...message, id: own, conversation: id, parent, state })
  }
  const leaf = ids.get(conversation.leaf ?? '') ?? kept.at(-1)?.id ?? null
  return { conversation: { ...conversation, id, leaf }, messages: kept }
}
