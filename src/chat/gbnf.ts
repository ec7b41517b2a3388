/** Grammars in GBNF, llama.cpp's notation: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md */
import { AnswerError } from './errors.ts'

/** What stages take (MAX_GRAMMAR_CHARACTERS of the wire) with room for the rules around a schema. */
const MAX_CHARACTERS = 250_000
/** llama.cpp makes a rule of each optional repetition, and refuses more than 2,000 at once. */
const REPEATED = 256
/** Beyond these many characters or items, fewer are as valid and cost less. */
const MAX_REPEATED = 65_536

/** The rules of one grammar; the same body is the same rule. */
export class Rules {
  readonly #bodies = new Map<string, string>()
  readonly #names = new Map<string, string>()
  #characters = 0
  #reserved = 0

  /** The name of the rule with this body. */
  add(body: string): string {
    if (/^r[0-9]+$/.test(body)) return body
    const known = this.#names.get(body)
    if (known !== undefined) return known
    const name = this.reserve()
    this.#names.set(body, name)
    this.define(name, body)
    return name
  }

  /** A name to refer to before its body is known. */
  reserve(): string {
    return `r${this.#reserved++}`
  }

  define(name: string, body: string): void {
    this.#characters += name.length + body.length + 6
    if (this.#characters > MAX_CHARACTERS) {
      throw new AnswerError(
        'INPUT',
        'The schema is too large: its grammar has more than 250,000 characters.',
        {
          field: 'format'
        }
      )
    }
    this.#bodies.set(name, body)
  }

  /** The whole grammar. */
  text(root: string): string {
    const rules = [...this.#bodies].map(([name, body]) => `${name} ::= ${body}\n`)
    return `root ::= ${root}\n${rules.join('')}`
  }
}

export function literal(text: string): string {
  const escaped = text.replace(/["\\\n\r\t]/g, (character) => ESCAPES[character] ?? character)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped
  return `"${escaped.replace(/[\x00-\x1f\x7f]/g, (character) => code(character.charCodeAt(0)))}"`
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t'
}

export function either(bodies: readonly string[]): string {
  const different = [...new Set(bodies)]
  return different.length === 1 ? (different[0] as string) : `(${different.join(' | ')})`
}

/** First and last code point of each. */
export type Ranges = readonly (readonly [number, number])[]

export function characters(ranges: Ranges, negated = false): string {
  const parts = ranges.map(([first, last]) => code(first) + (last > first ? `-${code(last)}` : ''))
  return `[${negated ? '^' : ''}${parts.join('')}]`
}

function code(point: number): string {
  const character = String.fromCodePoint(point)
  if (/[A-Za-z0-9 _]/.test(character)) return character
  if (point < 0x100) return `\\x${point.toString(16).padStart(2, '0')}`
  if (point < 0x10000) return `\\u${point.toString(16).padStart(4, '0')}`
  return `\\U${point.toString(16).padStart(8, '0')}`
}

/**
 * `item` from `min` to `max` times. Long ones are made of runs, so that neither the grammar nor what llama.cpp has to
 * keep in mind grows with them.
 */
export function repeated(rules: Rules, item: string, min: number, max: number | undefined): string {
  if (min > MAX_REPEATED) {
    const message = `The schema asks for ${min} items or characters: ${MAX_REPEATED} are the most.`
    throw new AnswerError('INPUT', message, { field: 'format' })
  }
  const name = rules.add(item)
  const required = runs(rules, name, min)
  if (max === undefined) return `${required} ${name}*`.trim()
  return `${required} ${upTo(rules, name, Math.min(max, MAX_REPEATED) - min)}`.trim()
}

function runs(rules: Rules, name: string, count: number): string {
  if (count === 0) return ''
  if (count <= REPEATED) return `${name}{${count}}`
  const run = rules.add(`${name}{${REPEATED}}`)
  return `${run}{${Math.floor(count / REPEATED)}} ${runs(rules, name, count % REPEATED)}`.trim()
}

/** Either it ends within the next run, or that is full and it goes on: two ways at a time, not one for each length. */
function upTo(rules: Rules, name: string, count: number): string {
  if (count <= 0) return ''
  let body = count % REPEATED === 0 ? '' : `${name}{0,${count % REPEATED}}`
  for (let left = Math.floor(count / REPEATED); left > 0; left--) {
    const short = rules.add(`${name}{0,${REPEATED - 1}}`)
    body = rules.add(`${short} | ${runs(rules, name, REPEATED)} ${body}`.trim())
  }
  return body
}

/** Any text in which `end` does not occur: the automaton of Knuth, Morris and Pratt, a rule for each of its states. */
export function textWithout(rules: Rules, end: string): string {
  const letters = [...end]
  const distinct = [...new Set(letters)]
  const names = letters.map(() => rules.reserve())
  for (const [state, name] of names.entries()) {
    const ways: string[] = []
    const special: string[] = []
    for (const letter of distinct) {
      const next = overlap([...letters.slice(0, state), letter], letters)
      if (next > 0) special.push(letter)
      if (next > 0 && next < letters.length) ways.push(`${literal(letter)} ${names[next]}`)
    }
    const others = special.map((letter) => letter.codePointAt(0) as number)
    ways.push(
      `${characters(
        others.map((point) => [point, point]),
        true
      )} ${names[0]}`
    )
    rules.define(name, `(${ways.join(' | ')})?`)
  }
  return names[0] as string
}

/** How much of the end of `read` is a beginning of `letters`. */
function overlap(read: readonly string[], letters: readonly string[]): number {
  for (let length = Math.min(read.length, letters.length); length > 0; length--) {
    if (letters.slice(0, length).every((letter, index) => letter === read[read.length - length + index])) {
      return length
    }
  }
  return 0
}
