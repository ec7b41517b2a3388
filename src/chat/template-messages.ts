/** Messages as a template takes them; what it lacks, in words. */
import { createHash } from 'node:crypto'
import type { Call, Message } from './contract.ts'
import type { TemplateMessage, TemplateStyle } from './template-style.ts'

export class Messages {
  readonly #style: TemplateStyle
  /** Calls are written in the template's way. */
  readonly #isNative: boolean

  constructor(style: TemplateStyle, isNative: boolean) {
    this.#style = style
    this.#isNative = isNative
  }

  /** `more`: what the system has to say beside them. */
  of(messages: readonly Message[], more: readonly string[]): TemplateMessage[] {
    const names = new Map<string, string>()
    for (const message of messages) {
      if (message.role === 'assistant') for (const { id, name } of message.calls ?? []) names.set(id, name)
    }
    const [first, ...rest] = messages
    const said = more.join('\n\n')
    let all = messages
    if (said !== '') {
      if (first?.role === 'system') all = [{ ...first, text: `${first.text}\n\n${said}` }, ...rest]
      else all = [{ role: 'system', text: said }, ...messages]
    }
    if (!this.#style.hasParallel) all = oneByOne(all)
    if (!this.#style.hasSystem) all = withoutSystem(all)
    const written = all.flatMap((message) => this.#message(message, names))
    return this.#isNative && this.#style.hasResults ? written : joinedResults(written)
  }

  #message(message: Message, names: ReadonlyMap<string, string>): TemplateMessage[] {
    if (message.role === 'assistant') {
      // Where a call's message can't say anything, another one does.
      const isSplit =
        this.#isNative && this.#style.nothing === null && message.calls?.length && message.text !== ''
      const parts = isSplit
        ? [
            { ...message, calls: [] },
            { ...message, text: '' }
          ]
        : [message]
      return parts.map((part) => this.#assistant(part))
    }
    if (message.role !== 'tool') return [{ role: message.role, content: this.#content(message.text) }]
    const name = message.name ?? names.get(message.call)
    if (this.#isNative && this.#style.hasResults) {
      const tool_call_id = this.#id(message.call)
      return [{ role: 'tool', tool_call_id, ...(name && { name }), content: this.#content(message.text) }]
    }
    const content = this.#content(JSON.stringify({ tool_response: { name, content: message.text } }))
    return [{ role: 'user', content, isResult: true }]
  }

  #assistant({ text, reasoning, calls = [] }: Message & { role: 'assistant' }): TemplateMessage {
    const { syntax, source } = this.#style
    if (calls.length > 0 && !this.#isNative) {
      const json = JSON.stringify({
        tool_calls: calls.map(({ name, arguments: given }) => ({ name, arguments: parsed(given) }))
      })
      return { role: 'assistant', content: this.#content(text === '' ? json : `${text}\n${json}`) }
    }
    const tool_calls = calls.map((call) => this.#call(call))
    const isCall = tool_calls.length > 0
    const called = isCall ? { tool_calls } : {}
    const content = isCall && text === '' ? this.#style.nothing : this.#content(text)
    const message = { role: 'assistant', content, ...called }
    if (reasoning === undefined || reasoning === '') return message
    if (syntax.isChanneled) {
      if (!isCall) return message
      // Reasoning and a preamble at once are refused.
      return { ...message, content: '', thinking: text === '' ? reasoning : `${reasoning}\n${text}` }
    }
    if (syntax.reasoning?.open !== '[THINK]' || !source.includes("'thinking'")) {
      return { ...message, reasoning_content: reasoning }
    }
    const said = text === '' ? [] : [{ type: 'text', text }]
    return { ...message, content: [{ type: 'thinking', thinking: reasoning }, ...said] }
  }

  #call({ id, name, arguments: given }: Call): unknown {
    const isObject = this.#style.calls === 'object'
    const called = { name, arguments: isObject ? parsed(given) : given }
    return { id: this.#id(id), type: 'function', function: called }
  }

  #id(id: string): string {
    if (!this.#style.wantsNine || /^[a-zA-Z0-9]{9}$/.test(id)) return id
    return createHash('sha256').update(id).digest('hex').slice(0, 9)
  }

  #content(text: string): unknown {
    return this.#style.wantsParts ? [{ type: 'text', text }] : text
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json === '' ? '{}' : json)
  } catch {
    return json
  }
}

/** Each call in a message of its own, its result behind it. */
function oneByOne(messages: readonly Message[]): Message[] {
  const results = new Map<string, Message>()
  for (const message of messages) if (message.role === 'tool') results.set(message.call, message)
  const split = new Set<Message>()
  return messages.flatMap((message) => {
    if (split.has(message)) return []
    if (message.role !== 'assistant' || (message.calls?.length ?? 0) < 2) return [message]
    return (message.calls ?? []).flatMap((call, index) => {
      const result = results.get(call.id)
      if (result !== undefined) split.add(result)
      const one: Message =
        index === 0 ? { ...message, calls: [call] } : { role: 'assistant', text: '', calls: [call] }
      return result === undefined ? [one] : [one, result]
    })
  })
}

/** What the system says stands in front of what the user says next. */
function withoutSystem(messages: readonly Message[]): Message[] {
  const all: Message[] = []
  let held = ''
  for (const message of messages) {
    if (message.role === 'system') held = held === '' ? message.text : `${held}\n${message.text}`
    else if (held !== '' && message.role === 'user') {
      all.push({ ...message, text: `${held}\n${message.text}` })
      held = ''
    } else {
      if (held !== '') all.push({ role: 'user', text: held })
      held = ''
      all.push(message)
    }
  }
  if (held !== '') all.push({ role: 'user', text: held })
  return all
}

/** Results that became users' words: those in a row are one message. */
function joinedResults(messages: readonly TemplateMessage[]): TemplateMessage[] {
  const all: TemplateMessage[] = []
  let isJoining = false
  for (const { isResult, ...message } of messages) {
    const last = all.at(-1)
    if (isJoining && isResult === true && typeof last?.content === 'string') {
      all[all.length - 1] = { ...message, content: `${last.content}\n${String(message.content)}` }
    } else all.push(message)
    isJoining = isResult === true
  }
  return all
}

/** System messages first, as one; no two of a kind in a row. */
export function regular(messages: readonly TemplateMessage[]): TemplateMessage[] {
  const ordered = [
    ...messages.filter(({ role }) => role === 'system'),
    ...messages.filter(({ role }) => role !== 'system')
  ]
  const merged: TemplateMessage[] = []
  for (const message of ordered) {
    const last = merged.at(-1)
    const texts = [last?.content, message.content]
    const isSame = last?.role === message.role && message.role !== 'tool'
    if (
      isSame &&
      !last?.tool_calls &&
      !message.tool_calls &&
      texts.every((text) => typeof text === 'string')
    ) {
      merged[merged.length - 1] = { ...message, content: texts.join('\n\n') }
    } else merged.push(message)
  }
  return merged
}
