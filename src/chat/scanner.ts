/** Answers with tags: text as it comes, cut anywhere, into reasoning, text and calls. */
import { afterSpace, afterWords, Extent, type Head, headOf, type Incomplete } from './call-heads.ts'
import { begun } from './stops.ts'
import { type AnswerSyntax, RESPONSE, words } from './syntax.ts'

export type Piece =
  | { readonly type: 'reasoning' | 'text' | 'arguments'; readonly text: string }
  | { readonly type: 'call'; readonly name: string }

export interface Scanner {
  /** What is certain by now. `isEnd`: nothing more comes. */
  push(text: string, isEnd: boolean): Piece[]
}

type Mode =
  | 'begin' // nothing but white space yet
  | 'reasoning'
  | 'gap' // white space that is not shown
  | 'text'
  | 'call' // from the sign of a call to its arguments
  | 'arguments'
  | 'after' // behind the arguments
  | 'next' // another call, or the end of calls
  | 'response' // a JSON text, unescaped
  | 'value' // a JSON value as it is
  | 'done'

export class TagScanner implements Scanner {
  readonly #syntax: AnswerSyntax
  #mode: Mode
  #buffer = ''
  /** Nothing has been said yet. */
  #isFirst = true
  #extent = new Extent()
  /** An object around the arguments is open still. */
  #isOpen = false
  #pieces: Piece[] = []

  constructor(syntax: AnswerSyntax) {
    this.#syntax = syntax
    this.#mode = syntax.isReasoning ? 'reasoning' : syntax.reasoning === undefined ? 'text' : 'begin'
  }

  push(text: string, isEnd: boolean): Piece[] {
    this.#buffer += text
    while (this.#buffer !== '' && this.#step(isEnd));
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  /** False: it needs more. */
  #step(isEnd: boolean): boolean {
    switch (this.#mode) {
      case 'begin':
        return this.#begin(isEnd)
      case 'reasoning':
        return this.#reasoning(isEnd)
      case 'gap':
        this.#buffer = this.#buffer.trimStart()
        if (this.#buffer !== '') this.#mode = 'text'
        return this.#buffer !== ''
      case 'text':
        return this.#text(isEnd)
      case 'call':
        return this.#call(isEnd)
      case 'arguments':
      case 'value':
        return this.#json()
      case 'after':
        return this.#after(isEnd)
      case 'next':
        return this.#next(isEnd)
      case 'response':
        return this.#response()
      case 'done':
        this.#buffer = ''
        return false
    }
  }

  #emit(type: 'reasoning' | 'text' | 'arguments', length: number): void {
    if (length > 0) this.#pieces.push({ type, text: this.#buffer.slice(0, length) })
    this.#buffer = this.#buffer.slice(length)
  }

  #begin(isEnd: boolean): boolean {
    const open = afterWords(this.#buffer, 0, [this.#syntax.reasoning?.open ?? ''])
    if (open === 'more' && !isEnd) return false
    this.#mode = typeof open === 'number' ? 'reasoning' : 'text'
    if (typeof open === 'number') this.#buffer = this.#buffer.slice(open)
    return true
  }

  #isThinking = false

  #reasoning(isEnd: boolean): boolean {
    const close = this.#syntax.reasoning?.close ?? ''
    if (!this.#isThinking) this.#buffer = this.#buffer.trimStart()
    if (this.#buffer === '') return false
    const at = this.#buffer.indexOf(close)
    const end =
      at >= 0 ? at : isEnd ? this.#buffer.length : (begun(this.#buffer, close) ?? this.#buffer.length)
    const shown = at < 0 && isEnd ? end : this.#buffer.slice(0, end).trimEnd().length
    this.#isThinking ||= shown > 0
    this.#emit('reasoning', shown)
    if (at < 0) return false
    this.#buffer = this.#buffer.slice(end - shown + close.length)
    this.#mode = 'gap'
    return true
  }

  #text(isEnd: boolean): boolean {
    const { calls } = this.#syntax
    if (calls === undefined) {
      this.#emit('text', this.#buffer.length)
      return false
    }
    if (calls.isWhole) {
      if (!this.#isFirst) this.#emit('text', this.#buffer.length)
      else this.#mode = 'call'
      return this.#isFirst
    }
    const [sign = ''] = words(`${calls.open}${calls.before}`)
    const at = this.#buffer.indexOf(sign)
    const end =
      at >= 0 ? at : isEnd ? this.#buffer.length : (begun(this.#buffer, sign) ?? this.#buffer.length)
    // White space before calls is theirs.
    this.#emit('text', at < 0 && isEnd ? end : this.#buffer.slice(0, end).trimEnd().length)
    if (at >= 0) this.#mode = 'call'
    return at >= 0
  }

  #call(isEnd: boolean): boolean {
    const { calls } = this.#syntax
    if (calls === undefined) return false
    const mark = calls.mark === undefined ? 'bad' : afterWords(this.#buffer, 0, [calls.mark])
    const first = [...words(calls.open), ...words(calls.before)]
    const start = mark === 'more' ? mark : afterWords(this.#buffer, mark === 'bad' ? 0 : mark, first)
    const head = typeof start === 'number' ? headOf(this.#buffer, start, calls, calls.names) : start
    if (typeof head === 'object') return this.#begun(head)
    const response = this.#responseStart()
    if (typeof response === 'number') {
      this.#buffer = this.#buffer.slice(response)
      this.#mode = this.#syntax.response === 'json' ? 'value' : 'response'
      this.#extent = new Extent()
      return true
    }
    if (head === 'more' || response === 'more') return this.#waits(isEnd)
    this.#isFirst = false
    this.#mode = 'text'
    // Not a call: its sign is text, and what follows is looked at again.
    const [sign = ''] = words(`${calls.open}${calls.before}`)
    this.#emit('text', calls.isWhole ? this.#buffer.length : this.#buffer.indexOf(sign) + sign.length)
    return true
  }

  /** Where the answer was cut short, half a call is nothing to show. */
  #waits(isEnd: boolean): false {
    if (isEnd) this.#buffer = ''
    return false
  }

  #responseStart(): number | Incomplete {
    const { response } = this.#syntax
    if (response === undefined) return 'bad'
    const colon = afterWords(this.#buffer, 0, words(RESPONSE))
    if (typeof colon !== 'number') return colon
    if (response === 'text') return afterWords(this.#buffer, colon, ['"'])
    const at = afterSpace(this.#buffer, colon)
    return at < this.#buffer.length ? at : 'more'
  }

  #begun({ name, at, arguments: given }: Head): boolean {
    this.#isFirst = false
    this.#pieces.push({ type: 'call', name })
    this.#buffer = this.#buffer.slice(at)
    this.#isOpen = this.#syntax.calls?.body.kind === 'object' && given === undefined
    this.#extent = new Extent()
    if (given !== undefined) this.#pieces.push({ type: 'arguments', text: given })
    this.#mode = given === undefined ? 'arguments' : 'after'
    return true
  }

  #json(): boolean {
    const isArguments = this.#mode === 'arguments'
    // Numbers and the like end where the object around them does.
    if (!isArguments && !this.#isWhole()) return this.#scalar()
    this.#emit(isArguments ? 'arguments' : 'text', this.#extent.take(this.#buffer))
    if (!this.#extent.isDone) return false
    this.#extent = new Extent(1)
    this.#mode = isArguments ? 'after' : 'done'
    return true
  }

  #isContainer: boolean | undefined

  #isWhole(): boolean {
    this.#isContainer ??= /^["{[]/.test(this.#buffer)
    return this.#isContainer
  }

  #scalar(): boolean {
    const end = this.#buffer.search(/[\s}]/)
    this.#emit('text', end < 0 ? this.#buffer.length : end)
    if (end >= 0) this.#mode = 'done'
    return end >= 0
  }

  #after(isEnd: boolean): boolean {
    if (this.#isOpen) {
      this.#buffer = this.#buffer.slice(this.#extent.take(this.#buffer))
      if (!this.#extent.isDone) return false
      this.#isOpen = false
    }
    const end = afterWords(this.#buffer, 0, words(this.#syntax.calls?.after ?? ''))
    if (end === 'more' && !isEnd) return false
    if (typeof end === 'number') this.#buffer = this.#buffer.slice(end)
    this.#mode = 'next'
    return true
  }

  #next(isEnd: boolean): boolean {
    const { calls } = this.#syntax
    if (calls === undefined) return false
    const start = calls.isSingle
      ? 'bad'
      : afterWords(this.#buffer, 0, [...words(calls.between), ...words(calls.before)])
    const head = typeof start === 'number' ? headOf(this.#buffer, start, calls, calls.names) : start
    if (typeof head === 'object') return this.#begun(head)
    const end = afterWords(this.#buffer, 0, words(calls.close))
    if (head === 'more' || end === 'more') return this.#waits(isEnd)
    if (typeof end === 'number') this.#buffer = this.#buffer.slice(end)
    this.#mode = 'gap'
    return true
  }

  /** Unescapes what is whole. */
  #response(): boolean {
    const [escaped = ''] =
      /^(?:[^"\\]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\u[dD][89abAB][0-9a-fA-F]{2}(?=[^\\]|\\[^u])|\\[^u])*/.exec(
        this.#buffer
      ) ?? []
    this.#buffer = this.#buffer.slice(escaped.length)
    if (escaped !== '') this.#pieces.push({ type: 'text', text: unescaped(escaped) })
    if (this.#buffer.startsWith('"')) this.#mode = 'done'
    return this.#mode === 'done'
  }
}

/** One by one, so that it does not matter where the text was cut. */
function unescaped(text: string): string {
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/gs, (whole, code?: string, letter = '') =>
    code === undefined ? (ESCAPES[letter] ?? whole) : String.fromCharCode(Number.parseInt(code, 16))
  )
}

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ '"': '"', '\\': '\\', '/': '/' },
  ...{ b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }
}
