/**
 * Reads GBNF, llama.cpp's form of grammars. What strangers send is read here, and not by llama.cpp: its parser never
 * comes back from `"a"{5,2}`, from left recursion behind rules that may be empty, or from many rules that begin alike.
 */
import { EngineError } from '../errors.ts'
import { findLeftRecursion } from './left-recursion.ts'

/** Rules are alternatives, which are sequences: of rules (their index + 1) and classes (minus their index + 1). */
export interface Grammar {
  readonly root: number
  readonly rules: readonly (readonly (readonly number[])[])[]
  readonly classes: readonly CharacterClass[]
}

export interface CharacterClass {
  readonly isNegated: boolean
  /** Pairs of first and last code points. */
  readonly ranges: readonly number[]
}

/** Each bracket is a call of the parser. */
const MAX_DEPTH = 256
/** Of what repetitions are written out to: 200 strings of 500 characters at most. */
const MAX_SYMBOLS = 200_000
const NAME = /[a-zA-Z0-9-]+/y
const DIGITS = /[0-9]+/y
const LINE_SPACE = /(?:[ \t]|#[^\r\n]*)*/y
const SPACE = /(?:[ \t\r\n]|#[^\r\n]*)*/y
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 }
const ESCAPES: Readonly<Record<string, string>> = { t: '\t', r: '\r', n: '\n' }
const ANY: CharacterClass = { isNegated: true, ranges: [] }

/** Throws an EngineError INPUT that says what is wrong, and where. */
export function parseGbnf(text: string): Grammar {
  return new Parser(text).parse()
}

class Parser {
  readonly #text: string
  #at = 0
  #symbols = 0
  readonly #names = new Map<string, number>()
  readonly #rules: (number[][] | undefined)[] = []
  readonly #classes: CharacterClass[] = []
  readonly #classIds = new Map<string, number>()

  constructor(text: string) {
    this.#text = text
  }

  parse(): Grammar {
    this.#skip(SPACE)
    while (this.#at < this.#text.length) this.#rule()
    for (const [name, index] of this.#names) {
      if (this.#rules[index] === undefined) this.#fail(`there is no rule "${name}"`)
    }
    const root = this.#names.get('root')
    if (root === undefined) return this.#fail('there is no rule "root"')
    const rules = this.#rules as number[][][]
    const recursive = findLeftRecursion(rules)
    if (recursive !== undefined) {
      const name = [...this.#names].find(([, index]) => index === recursive)?.[0]
      this.#fail(
        `left recursion${name === undefined ? '' : ` of "${name}"`}: something repeats that may be empty`
      )
    }
    return { root, rules, classes: this.#classes }
  }

  #rule(): void {
    const name = this.#match(NAME) ?? this.#fail('the name of a rule should come')
    this.#skip(LINE_SPACE)
    if (!this.#text.startsWith('::=', this.#at)) this.#fail('"::=" should come')
    this.#at += 3
    this.#skip(SPACE)
    this.#rules[this.#indexOf(name)] = this.#alternatives(0)
    const end = this.#text[this.#at]
    if (end !== undefined && end !== '\n' && end !== '\r') this.#fail('this can not be read')
    this.#skip(SPACE)
  }

  /** Within brackets lines may end anywhere. */
  #alternatives(depth: number): number[][] {
    if (depth > MAX_DEPTH) this.#fail(`brackets are more than ${MAX_DEPTH} deep`)
    const alternatives = [this.#sequence(depth)]
    while (this.#text[this.#at] === '|') {
      this.#at += 1
      this.#skip(SPACE)
      alternatives.push(this.#sequence(depth))
    }
    return alternatives
  }

  #sequence(depth: number): number[] {
    const space = depth > 0 ? SPACE : LINE_SPACE
    const sequence: number[] = []
    let last: number | undefined // where what may be repeated begins
    for (;;) {
      const repeats = this.#repetition(space)
      if (repeats !== undefined) {
        if (last === undefined) return this.#fail('there is nothing to repeat')
        this.#repeat(sequence, last, repeats)
        continue
      }
      const item = this.#item(depth)
      if (item === undefined) return sequence
      last = sequence.length
      for (const symbol of item) this.#push(sequence, symbol)
      this.#skip(space)
    }
  }

  /** Undefined: something else comes. */
  #item(depth: number): number[] | undefined {
    const char = this.#text[this.#at]
    switch (char) {
      case '"':
        return this.#literal()
      case '[':
        return [this.#class(this.#ranges())]
      case '.':
        this.#at += 1
        return [this.#class(ANY)]
      case '(':
        return [this.#group(depth)]
      case '<':
      case '!':
        return this.#fail('tokens can not be named: write their text')
      default: {
        const name = this.#match(NAME)
        return name === undefined ? undefined : [this.#indexOf(name) + 1]
      }
    }
  }

  #literal(): number[] {
    this.#at += 1
    const symbols: number[] = []
    while (this.#text[this.#at] !== '"') {
      const code = this.#char()
      symbols.push(this.#class({ isNegated: false, ranges: [code, code] }))
    }
    this.#at += 1
    return symbols
  }

  #ranges(): CharacterClass {
    this.#at += 1
    const isNegated = this.#text[this.#at] === '^'
    if (isNegated) this.#at += 1
    const ranges: number[] = []
    while (this.#text[this.#at] !== ']') {
      const first = this.#char()
      const isRange = this.#text[this.#at] === '-' && this.#text[this.#at + 1] !== ']'
      if (isRange) this.#at += 1
      ranges.push(first, isRange ? this.#char() : first)
    }
    if (ranges.length === 0) this.#fail('a class without characters')
    this.#at += 1
    return { isNegated, ranges }
  }

  /** A code point, maybe escaped. */
  #char(): number {
    const code = this.#text.codePointAt(this.#at)
    if (code === undefined) return this.#fail('something is not closed')
    const char = String.fromCodePoint(code)
    this.#at += char.length
    if (char !== '\\') return code
    const kind = this.#text[this.#at] ?? ''
    this.#at += 1
    const digits = HEX_DIGITS[kind]
    if (digits !== undefined) {
      const hex = this.#text.slice(this.#at, this.#at + digits)
      if (hex.length < digits || !/^[0-9a-fA-F]+$/.test(hex))
        this.#fail(`${digits} hexadecimal digits should come`)
      this.#at += digits
      return Number.parseInt(hex, 16)
    }
    if (!'trn\\"[]-'.includes(kind) || kind === '') this.#fail(`there is no escape "\\${kind}"`)
    return (ESCAPES[kind] ?? kind).codePointAt(0) as number
  }

  #group(depth: number): number {
    this.#at += 1
    this.#skip(SPACE)
    const alternatives = this.#alternatives(depth + 1)
    if (this.#text[this.#at] !== ')') this.#fail('")" should come')
    this.#at += 1
    return this.#add(alternatives)
  }

  /** [least, most] times. */
  #repetition(space: RegExp): readonly [number, number] | undefined {
    const char = this.#text[this.#at]
    if (char === undefined || !'*+?{'.includes(char)) return undefined
    this.#at += 1
    this.#skip(space)
    if (char !== '{') return [char === '+' ? 1 : 0, char === '?' ? 1 : Number.POSITIVE_INFINITY]
    const least = this.#number() ?? this.#fail('a number should come')
    let most = least
    if (this.#text[this.#at] === ',') {
      this.#at += 1
      this.#skip(space)
      most = this.#number() ?? Number.POSITIVE_INFINITY
    }
    if (this.#text[this.#at] !== '}') this.#fail('"}" should come')
    this.#at += 1
    this.#skip(space)
    if (most < least) this.#fail(`nothing comes at least ${least} and at most ${most} times`)
    return [least, most]
  }

  #number(): number | undefined {
    const digits = this.#match(DIGITS)
    this.#skip(LINE_SPACE)
    return digits === undefined ? undefined : Number(digits)
  }

  /** `S{m,n}` is m times S, then `S'(n-m)`, where `S'(k) ::= S S'(k-1) |`; or `S' ::= S S' |` without an end. */
  #repeat(sequence: number[], from: number, [least, most]: readonly [number, number]): void {
    const unit = sequence.splice(from)
    const symbol = unit.length === 1 ? (unit[0] as number) : this.#add([unit])
    for (let time = 0; time < least; time++) this.#push(sequence, symbol)
    if (most === least) return
    let rest: number[] = []
    if (most === Number.POSITIVE_INFINITY) {
      const again: number[] = [symbol]
      const rule = this.#add([again, []])
      this.#push(again, rule)
      rest = [rule]
    } else {
      for (let time = least; time < most; time++) rest = [this.#add([[symbol, ...rest], []])]
    }
    for (const part of rest) this.#push(sequence, part)
  }

  /** A rule without a name, as a symbol. */
  #add(alternatives: number[][]): number {
    this.#count()
    return this.#rules.push(alternatives)
  }

  #push(sequence: number[], symbol: number): void {
    this.#count()
    sequence.push(symbol)
  }

  #count(): void {
    this.#symbols += 1
    if (this.#symbols > MAX_SYMBOLS) this.#fail(`written out it has over ${MAX_SYMBOLS} symbols`)
  }

  #indexOf(name: string): number {
    let index = this.#names.get(name)
    if (index === undefined) {
      this.#count()
      index = this.#rules.push(undefined) - 1
      this.#names.set(name, index)
    }
    return index
  }

  #class(value: CharacterClass): number {
    const key = `${value.isNegated} ${value.ranges.join()}`
    const known = this.#classIds.get(key)
    if (known !== undefined) return known
    const id = -this.#classes.push(value)
    this.#classIds.set(key, id)
    return id
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    this.#at += found?.length ?? 0
    return found
  }

  #skip(space: RegExp): void {
    this.#match(space)
  }

  #fail(message: string): never {
    const line = this.#text.slice(0, this.#at).split('\n').length
    throw new EngineError('INPUT', `The grammar can't be used, at line ${line}: ${message}.`)
  }
}
