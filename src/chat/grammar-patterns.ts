/** Regular expressions of JSON Schema as GBNF: those that describe a text, without looking around or back. */
import { AnswerError } from './errors.ts'
import { characters, either, literal, type Ranges, type Rules, repeated } from './gbnf.ts'

export interface Lengths {
  readonly min: number
  readonly max: number
}

type Node =
  | { readonly kind: 'set'; readonly ranges: Ranges }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Node[] }
  | { readonly kind: 'repeat'; readonly part: Node; readonly min: number; readonly max: number }

const MAX_PATTERN = 4_096
const MAX_DEPTH = 32
/** Beyond it a character is two for some programs and one for others. */
const LAST = 0xffff

const DIGIT: Ranges = [[0x30, 0x39]]
const WORD: Ranges = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a]
]
const SPACE: Ranges = [0x20, 0xa0, 0x1680, 0x202f, 0x205f, 0x3000, 0xfeff]
  .map((point): [number, number] => [point, point])
  .concat([
    [0x09, 0x0d],
    [0x2000, 0x200a],
    [0x2028, 0x2029]
  ])
const LINE_ENDS: Ranges = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029]
]
const CLASSES: Readonly<Record<string, Ranges>> = {
  d: DIGIT,
  D: without(DIGIT),
  w: WORD,
  W: without(WORD),
  s: SPACE,
  S: without(SPACE)
}
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11 }
/** How JSON writes the characters that it does not take as they are. */
const SHORT: Readonly<Record<number, string>> = {
  8: '\\b',
  9: '\\t',
  10: '\\n',
  12: '\\f',
  13: '\\r',
  34: '\\"',
  92: '\\\\'
}

/** The inside of a JSON string that matches, and is as long as said; undefined: none is. */
export function patternBody(rules: Rules, pattern: string, lengths: Lengths): string | undefined {
  if (pattern.length > MAX_PATTERN) refuse(pattern.slice(0, 40), 'it is too long')
  let node = new PatternReader(pattern).read()
  const own = lengthsOf(node)
  if (own.min > lengths.max || own.max < lengths.min) return undefined
  if (own.min < lengths.min || own.max > lengths.max) {
    const narrow = narrowed(node, lengths)
    if (narrow === undefined) refuse(pattern, 'minLength and maxLength have to follow from it')
    node = narrow
  }
  return body(rules, node)
}

function refuse(pattern: string, why: string): never {
  throw new AnswerError('INPUT', `The pattern ${JSON.stringify(pattern)} is not supported: ${why}.`, {
    field: 'format'
  })
}

/** llama.cpp takes such a rule for one that begins with itself. */
function refuseEndless(): never {
  const message = 'A pattern repeats without end what may be nothing, as "(a*)*": that is not supported.'
  throw new AnswerError('INPUT', message, { field: 'format' })
}

function lengthsOf(node: Node): Lengths {
  if (node.kind === 'set') return { min: 1, max: 1 }
  if (node.kind === 'repeat') {
    const { min, max } = lengthsOf(node.part)
    return { min: min * node.min, max: max === 0 ? 0 : max * node.max }
  }
  const parts = node.parts.map(lengthsOf)
  const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0)
  if (node.kind === 'sequence') {
    return { min: sum(parts.map(({ min }) => min)), max: sum(parts.map(({ max }) => max)) }
  }
  return { min: Math.min(...parts.map(({ min }) => min)), max: Math.max(...parts.map(({ max }) => max)) }
}

/** Where one part alone can be longer or shorter, and is of single characters. */
function narrowed(node: Node, lengths: Lengths): Node | undefined {
  const parts = node.kind === 'sequence' ? node.parts : [node]
  const flexible = parts.filter((part) => lengthsOf(part).min !== lengthsOf(part).max)
  const [part] = flexible
  if (flexible.length !== 1 || part?.kind !== 'repeat' || part.part.kind !== 'set') return undefined
  const fixed = lengthsOf({ kind: 'sequence', parts: parts.filter((other) => other !== part) }).min
  const min = Math.max(part.min, lengths.min - fixed)
  const max = Math.min(part.max, lengths.max - fixed)
  return { kind: 'sequence', parts: parts.map((other) => (other === part ? { ...part, min, max } : other)) }
}

function body(rules: Rules, node: Node): string {
  if (node.kind === 'set') return jsonCharacters(node.ranges)
  if (node.kind === 'choice') return either(node.parts.map((part) => body(rules, part) || '""'))
  if (node.kind === 'repeat') {
    if (node.max === Infinity && lengthsOf(node.part).min === 0) refuseEndless()
    const part = body(rules, node.part)
    return part === '' ? '' : repeated(rules, part, node.min, node.max === Infinity ? undefined : node.max)
  }
  return node.parts
    .map((part) => body(rules, part))
    .filter((part) => part !== '')
    .join(' ')
}

/** One character of a set, as JSON writes it. */
function jsonCharacters(ranges: Ranges): string {
  const escaped: string[] = []
  for (const point of [...Array(0x20).keys(), 34, 92, 127]) {
    if (!ranges.some(([first, last]) => first <= point && point <= last)) continue
    escaped.push(literal(SHORT[point] ?? `\\u${point.toString(16).padStart(4, '0')}`))
  }
  const plain = without([[0, 0x1f], [34, 34], [92, 92], [127, 127], [0xd800, 0xdfff], ...without(ranges)])
  return either([...(plain.length > 0 ? [characters(plain)] : []), ...escaped])
}

/** All the others, up to the last. */
function without(ranges: Ranges): Ranges {
  const rest: [number, number][] = []
  let next = 0
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    if (first > next) rest.push([next, first - 1])
    next = Math.max(next, last + 1)
  }
  if (next <= LAST) rest.push([next, LAST])
  return rest
}

class PatternReader {
  readonly #pattern: string
  #at = 0
  #depth = 0

  constructor(pattern: string) {
    this.#pattern = pattern
  }

  /** Matches anywhere unless it is anchored. */
  read(): Node {
    const node = this.#choice(true)
    if (this.#at < this.#pattern.length) this.#refuse('a bracket is closed that was not opened')
    return node
  }

  #refuse(why: string): never {
    refuse(this.#pattern, why)
  }

  #peek(text: string): boolean {
    return this.#pattern.startsWith(text, this.#at)
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false
    this.#at += text.length
    return true
  }

  #choice(isWhole: boolean): Node {
    const parts: Node[] = []
    do parts.push(this.#sequence(isWhole))
    while (this.#take('|'))
    return parts.length === 1 ? (parts[0] as Node) : { kind: 'choice', parts }
  }

  #sequence(isWhole: boolean): Node {
    const anything: Node = {
      kind: 'repeat',
      part: { kind: 'set', ranges: without([]) },
      min: 0,
      max: Infinity
    }
    const parts: Node[] = []
    if (isWhole && !this.#take('^')) parts.push(anything)
    while (this.#at < this.#pattern.length && !this.#peek('|') && !this.#peek(')') && !this.#peek('$')) {
      parts.push(this.#quantified(this.#atom()))
    }
    if (!isWhole) return { kind: 'sequence', parts }
    if (!this.#take('$')) parts.push(anything)
    if (this.#at < this.#pattern.length && !this.#peek('|')) this.#refuse('"$" is not at its end')
    return { kind: 'sequence', parts }
  }

  #atom(): Node {
    if (this.#take('(')) return this.#group()
    if (this.#take('[')) return { kind: 'set', ranges: this.#set() }
    if (this.#take('.')) return { kind: 'set', ranges: without(LINE_ENDS) }
    const character = this.#pattern[this.#at++] as string
    if (character === '\\') return { kind: 'set', ranges: this.#escape() }
    if ('^*+?{}]'.includes(character)) this.#refuse(`"${character}" has no meaning there`)
    return { kind: 'set', ranges: single(this.#code(character)) }
  }

  #group(): Node {
    if (this.#take('?') && !this.#take(':')) this.#refuse('it looks around, or names a group')
    if (++this.#depth > MAX_DEPTH) this.#refuse('its brackets are nested too deep')
    const node = this.#choice(false)
    this.#depth--
    if (!this.#take(')')) this.#refuse('a bracket is not closed, or "$" stands inside of one')
    return node
  }

  #quantified(part: Node): Node {
    const [text, low, comma, high] = /^(?:[*+?]|\{(\d{1,5})(,)?(\d{1,5})?\})/.exec(this.#rest()) ?? []
    if (text === undefined) return part
    this.#at += text.length
    this.#take('?') // what is taken first does not matter
    const min = low === undefined ? (text === '+' ? 1 : 0) : Number(low)
    const open = text === '?' ? 1 : Infinity
    const max = low === undefined ? open : comma === undefined ? min : Number(high ?? Infinity)
    if (max < min || /^[*+?{]/.test(this.#rest())) this.#refuse('a repetition has no meaning')
    return { kind: 'repeat', part, min, max }
  }

  #rest(): string {
    return this.#pattern.slice(this.#at, this.#at + 16)
  }

  #set(): Ranges {
    const isNegated = this.#take('^')
    const ranges: (readonly [number, number])[] = []
    while (!this.#take(']')) {
      const first = this.#member()
      if (first.length === 1 && first[0]?.[0] === first[0]?.[1] && /^-[^\]]/.test(this.#rest())) {
        this.#at++
        const last = this.#member()
        const [from, to] = [first[0]?.[0] as number, last[0]?.[1] as number]
        if (last.length !== 1 || to < from) this.#refuse('a range has no meaning')
        ranges.push([from, to])
      } else ranges.push(...first)
    }
    const set = isNegated ? without(ranges) : ranges
    if (set.length === 0) this.#refuse('a set is empty')
    return set
  }

  #member(): Ranges {
    const character = this.#pattern[this.#at++]
    if (character === undefined) this.#refuse('a set is not closed')
    if (character !== '\\') return single(this.#code(character))
    return this.#take('b') ? single(8) : this.#escape()
  }

  #escape(): Ranges {
    const [hex] = /^(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})/.exec(this.#rest()) ?? []
    if (hex !== undefined) {
      this.#at += hex.length
      return single(Number.parseInt(hex.slice(1), 16))
    }
    const character = this.#pattern[this.#at++] ?? this.#refuse('it ends with "\\"')
    const control = CONTROLS[character]
    if (control !== undefined) return single(control)
    if (/[A-Za-z0-9]/.test(character)) {
      return CLASSES[character] ?? this.#refuse(`"\\${character}" is not known`)
    }
    return single(this.#code(character))
  }

  #code(character: string): number {
    const point = character.charCodeAt(0)
    if (point >= 0xd800 && point <= 0xdfff) this.#refuse('it has a character beyond U+FFFF')
    return point
  }
}

function single(point: number): Ranges {
  return [[point, point]]
}
