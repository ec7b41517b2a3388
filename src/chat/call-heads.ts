/** The beginnings of calls, up to their arguments: whole, not whole yet, or something else. */
import { type CallSyntax, words } from './syntax.ts'

/** Names and ids are far shorter. */
const MAX_HEAD = 4_096

/** `more`: it may still become one. */
export type Incomplete = 'more' | 'bad'

export interface Head {
  readonly name: string
  /** Where the arguments begin. */
  readonly at: number
  /** All of them, where they stood before the name; `at` is behind the call's object then. */
  readonly arguments?: string
}

/** Where a text goes on after these words, white space aside. */
export function afterWords(text: string, at: number, expected: readonly string[]): number | Incomplete {
  for (const word of expected) {
    at = afterSpace(text, at)
    if (!text.startsWith(word, at)) return word.startsWith(text.slice(at)) ? 'more' : 'bad'
    at += word.length
  }
  return at
}

export function afterSpace(text: string, at: number): number {
  while (at < text.length && /\s/.test(text[at] as string)) at++
  return at
}

export function headOf(
  text: string,
  at: number,
  { body }: CallSyntax,
  names: readonly string[]
): Head | Incomplete {
  const limited = text.slice(0, at + MAX_HEAD)
  const head =
    body.kind === 'named' ? namedHead(limited, at, body, names) : objectHead(limited, at, body, names)
  return head === 'more' && text.length > limited.length ? 'bad' : head
}

function namedHead(
  text: string,
  at: number,
  { separator, id }: CallSyntax['body'] & { kind: 'named' },
  names: readonly string[]
): Head | Incomplete {
  const start = afterSpace(text, at)
  let result: Incomplete = 'bad'
  for (const name of names) {
    let next = afterWords(text, start, [name])
    if (id && typeof next === 'number') next = afterId(text, next)
    if (typeof next === 'number') next = afterWords(text, next, words(separator))
    if (typeof next === 'number') {
      const begin = afterSpace(text, next)
      if (text[begin] === '{') return { name, at: begin }
      next = begin === text.length ? 'more' : 'bad'
    }
    if (next === 'more') result = 'more'
  }
  return result
}

function afterId(text: string, at: number): number | Incomplete {
  const next = afterWords(text, at, ['[CALL_ID]'])
  if (typeof next !== 'number') return next
  const id = text.slice(next, next + 9)
  if (!/^[a-zA-Z0-9]*$/.test(id)) return 'bad'
  return id.length < 9 ? 'more' : next + 9
}

/** Reads the object's properties until the name is known and the arguments begin. */
function objectHead(
  text: string,
  at: number,
  body: CallSyntax['body'] & { kind: 'object' },
  names: readonly string[]
): Head | Incomplete {
  const open = afterWords(text, at, ['{'])
  if (typeof open !== 'number') return open
  let name: string | undefined
  let given: string | undefined
  for (let next: number = open; ; ) {
    const start = afterSpace(text, next)
    const keyEnd = valueEnd(text, start)
    if (typeof keyEnd !== 'number') return keyEnd
    const key = parsed(text.slice(start, keyEnd))
    if (typeof key !== 'string') return 'bad'
    const colon = afterWords(text, keyEnd, [':'])
    if (typeof colon !== 'number') return colon
    const value = afterSpace(text, colon)
    const isArguments = key === body.arguments
    if (isArguments && value < text.length && text[value] !== '{') return 'bad'
    if (isArguments && name !== undefined && value < text.length) return { name, at: value }
    const end = valueEnd(text, value)
    if (typeof end !== 'number') return end
    if (isArguments) given = text.slice(value, end)
    if (key === 'name') {
      const called = parsed(text.slice(value, end))
      if (typeof called !== 'string' || !names.includes(called)) return 'bad'
      name = called
    }
    const comma = afterWords(text, end, [','])
    if (typeof comma === 'number') next = comma
    else {
      const close = comma === 'more' ? comma : afterWords(text, end, ['}'])
      if (typeof close !== 'number') return close
      return name === undefined ? 'bad' : { name, at: close, arguments: given ?? '{}' }
    }
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Behind the JSON value that begins here. */
function valueEnd(text: string, at: number): number | Incomplete {
  if (at >= text.length) return 'more'
  if ('"{['.includes(text[at] as string)) {
    const extent = new Extent()
    const length = extent.take(text.slice(at))
    return extent.isDone ? at + length : 'more'
  }
  const [scalar = ''] = /^[-+.\w]*/.exec(text.slice(at)) ?? []
  if (scalar === '') return 'bad'
  return at + scalar.length === text.length ? 'more' : at + scalar.length
}

/** Follows a JSON text or container to its end, in parts. */
export class Extent {
  isDone = false
  #depth: number
  #inText = false
  #isEscaped = false

  /** `depth`: of containers that are open already. */
  constructor(depth = 0) {
    this.#depth = depth
  }

  /** How much of this belongs to it. */
  take(text: string): number {
    for (let at = 0; at < text.length; at++) {
      this.#step(text[at] as string)
      if (this.isDone) return at + 1
    }
    return text.length
  }

  #step(character: string): void {
    if (this.#inText) {
      if (this.#isEscaped) this.#isEscaped = false
      else if (character === '\\') this.#isEscaped = true
      else if (character === '"') {
        this.#inText = false
        this.isDone = this.#depth === 0
      }
    } else if (character === '"') this.#inText = true
    else if (character === '{' || character === '[') this.#depth++
    else if (character === '}' || character === ']') this.isDone = --this.#depth <= 0
  }
}
