/** A conversation with a model, one question after the other. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { AnswerEvent, Answers, Format, Message, Sampling } from '../../chat/index.ts'
import { replaceFile, ShoalError } from '../../common/index.ts'

export interface Parameters extends Sampling {
  readonly maxTokens?: number | undefined
}

export interface DialogueInit {
  readonly model: string
  readonly system?: string | undefined
  readonly parameters: Parameters
  readonly format: Format
  /** Longest wait for a chain. */
  readonly waitMs: number
}

const call = z.object({ id: z.string(), name: z.string(), arguments: z.string() })
const message = z.discriminatedUnion('role', [
  z.object({ role: z.enum(['system', 'user']), text: z.string() }),
  z.object({
    ...{ role: z.literal('assistant'), text: z.string() },
    ...{ reasoning: z.string().optional(), calls: z.array(call).optional() }
  }),
  z.object({ role: z.literal('tool'), call: z.string(), name: z.string().optional(), text: z.string() })
])
/** What `/save` writes. */
const schema = z.object({
  model: z.string().min(1),
  system: z.string().optional(),
  messages: z.array(message)
})

export class Dialogue {
  model: string
  system: string | undefined
  parameters: Parameters
  readonly answers: Pick<Answers, 'answer' | 'model' | 'models'>
  readonly #init: DialogueInit
  /** Conversations are continued for the same owner. */
  readonly #owner = randomUUID()
  #messages: Message[] = []

  constructor(answers: Pick<Answers, 'answer' | 'model' | 'models'>, init: DialogueInit) {
    this.answers = answers
    this.#init = init
    this.model = init.model
    this.system = init.system
    this.parameters = init.parameters
  }

  /** Without the system's. */
  get messages(): readonly Message[] {
    return this.#messages
  }

  clear(): void {
    this.#messages = []
  }

  /** What came of an answer is part of the conversation, even if it was interrupted; where nothing came, nothing was asked. */
  async *ask(question: string, signal: AbortSignal): AsyncGenerator<AnswerEvent, void> {
    const asked: Message[] = [...this.#messages, { role: 'user', text: question }]
    const system: Message[] = this.system === undefined ? [] : [{ role: 'system', text: this.system }]
    const { maxTokens, ...sampling } = this.parameters
    const request = {
      ...{ model: this.model, maxTokens, sampling, stop: [], format: this.#init.format },
      input: {
        ...{ kind: 'conversation' as const, messages: [...system, ...asked], tools: [] },
        ...{ toolChoice: 'none' as const, parallelCalls: false }
      }
    }
    const { waitMs } = this.#init
    let [text, reasoning] = ['', '']
    try {
      for await (const event of this.answers.answer(request, {
        ...{ id: randomUUID(), owner: this.#owner, signal, waitMs }
      })) {
        if (event.type === 'text') text += event.text
        if (event.type === 'reasoning') reasoning += event.text
        yield event
      }
    } finally {
      const thought = reasoning === '' ? {} : { reasoning }
      if (text !== '') this.#messages = [...asked, { role: 'assistant', text, ...thought }]
    }
  }

  async save(path: string): Promise<void> {
    const { model, system, messages } = this
    await replaceFile(path, `${JSON.stringify({ model, system, messages }, undefined, 2)}\n`)
  }

  /** Goes on with what was saved. Throws a ShoalError CONVERSATION where it is none. */
  async load(path: string): Promise<void> {
    const { model, system, messages } = parse(await readFile(path, 'utf8'), path)
    this.model = model
    this.system = system
    this.#messages = messages
  }
}

function parse(text: string, path: string): z.infer<typeof schema> {
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    throw new ShoalError('CONVERSATION', `${path} is no conversation that "/save" has written.`, { cause })
  }
}
