// What the tests of this folder share: texts drawn from a grammar's own words.

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'set'
      readonly ranges: readonly (readonly [number, number])[]
      readonly negated: boolean
    }
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Node[] }
  | { readonly kind: 'repeat'; readonly part: Node; readonly min: number; readonly max: number }

/** Characters that a negated set may give: what JSON has to escape, and of one to four bytes. */
const SAMPLES = [...'abcXYZ019 ,:{}[]"\\/<>_-.é€🐠'].map((letter) => letter.codePointAt(0) as number)
const ENDLESS = 4

/** A small interpreter of GBNF, as far as this folder writes it. */
export class Gbnf {
  readonly #rules = new Map<string, Node>()
  /** The least number of rules on the way to an end. */
  readonly #heights = new Map<string, number>()
  #source = ''
  #at = 0

  constructor(source: string) {
    for (const line of source.split('\n').filter((text) => text !== '')) {
      const [, name, body] = /^([a-zA-Z0-9-]+) ::= (.*)$/.exec(line) ?? []
      if (name === undefined || body === undefined) throw new Error(`not a rule: ${line}`)
      this.#source = body
      this.#at = 0
      this.#rules.set(name, this.#choice())
      if (this.#at < body.length) throw new Error(`not understood: ${body.slice(this.#at)}`)
    }
    this.#measure()
  }

  /** `random` gives numbers in [0, 1). */
  sample(random: () => number, budget = 40): string {
    return this.#draw({ kind: 'rule', name: 'root' }, random, { left: budget })
  }

  #measure(): void {
    for (let changed = true; changed; ) {
      changed = false
      for (const [name, node] of this.#rules) {
        const height = this.#height(node) + 1
        if (height < (this.#heights.get(name) ?? Infinity)) {
          this.#heights.set(name, height)
          changed = true
        }
      }
    }
    for (const name of this.#rules.keys()) if (!this.#heights.has(name)) throw new Error(`${name} has no end`)
  }

  #height(node: Node): number {
    if (node.kind === 'rule') return this.#heights.get(node.name) ?? Infinity
    if (node.kind === 'repeat') return node.min === 0 ? 0 : this.#height(node.part)
    if (node.kind === 'sequence') return Math.max(0, ...node.parts.map((part) => this.#height(part)))
    return node.kind === 'choice' ? Math.min(...node.parts.map((part) => this.#height(part))) : 0
  }

  #draw(node: Node, random: () => number, budget: { left: number }): string {
    const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T
    if (node.kind === 'text') return node.text
    if (node.kind === 'set') return String.fromCodePoint(this.#character(node, pick))
    if (node.kind === 'sequence') return node.parts.map((part) => this.#draw(part, random, budget)).join('')
    if (node.kind === 'repeat') {
      const isShort = budget.left <= 0 && this.#height(node.part) > 0
      const most = isShort ? node.min : Math.min(node.max, node.min + ENDLESS)
      const count =
        random() < 0.1 && node.max < 300 ? node.max : node.min + Math.floor(random() * (most - node.min + 1))
      return Array.from({ length: isShort ? node.min : count }, () =>
        this.#draw(node.part, random, budget)
      ).join('')
    }
    if (node.kind === 'rule') {
      budget.left -= 1
      const rule = this.#rules.get(node.name)
      if (rule === undefined) throw new Error(`there is no rule ${node.name}`)
      return this.#draw(rule, random, budget)
    }
    const lowest = Math.min(...node.parts.map((part) => this.#height(part)))
    const ways = budget.left > 0 ? node.parts : node.parts.filter((part) => this.#height(part) === lowest)
    return this.#draw(pick(ways), random, budget)
  }

  #character(node: Node & { kind: 'set' }, pick: <T>(values: readonly T[]) => T): number {
    const has = (point: number): boolean => node.ranges.some(([a, b]) => a <= point && point <= b)
    if (node.negated) return pick(SAMPLES.filter((point) => !has(point)))
    const [first, last] = pick(node.ranges)
    const inside = SAMPLES.filter((point) => first <= point && point <= last)
    return pick([first, last, ...inside])
  }

  #space(): void {
    while (this.#source[this.#at] === ' ') this.#at++
  }

  #choice(): Node {
    const parts: Node[] = []
    do {
      this.#space()
      parts.push(this.#sequence())
    } while (this.#source[this.#at++] === '|')
    this.#at--
    return parts.length === 1 ? (parts[0] as Node) : { kind: 'choice', parts }
  }

  #sequence(): Node {
    const parts: Node[] = []
    for (;;) {
      this.#space()
      const next = this.#source[this.#at]
      if (next === undefined || next === '|' || next === ')') return { kind: 'sequence', parts }
      parts.push(this.#repeated(this.#item(next)))
    }
  }

  #item(next: string): Node {
    if (next === '(') {
      this.#at++
      const node = this.#choice()
      if (this.#source[this.#at++] !== ')') throw new Error('a bracket is not closed')
      return node
    }
    if (next === '"') {
      this.#at++
      let text = ''
      while (this.#source[this.#at] !== '"') text += String.fromCodePoint(this.#letter())
      this.#at++
      return { kind: 'text', text }
    }
    if (next === '[') return this.#set()
    const [name] = /^[a-zA-Z0-9-]+/.exec(this.#source.slice(this.#at)) ?? []
    if (name === undefined) throw new Error(`not understood: ${this.#source.slice(this.#at)}`)
    this.#at += name.length
    return { kind: 'rule', name }
  }

  #set(): Node {
    const negated = this.#source[++this.#at] === '^'
    if (negated) this.#at++
    const ranges: (readonly [number, number])[] = []
    while (this.#source[this.#at] !== ']') {
      const first = this.#letter()
      const isRange = this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']'
      if (isRange) this.#at++
      ranges.push([first, isRange ? this.#letter() : first])
    }
    this.#at++
    return { kind: 'set', ranges, negated }
  }

  #letter(): number {
    const point = this.#source.codePointAt(this.#at) as number
    this.#at += String.fromCodePoint(point).length
    if (point !== 92) return point
    const kind = this.#source[this.#at++] as string
    const digits = { x: 2, u: 4, U: 8 }[kind]
    if (digits === undefined) {
      const known: Record<string, string> = {
        n: '\n',
        r: '\r',
        t: '\t',
        '"': '"',
        '\\': '\\',
        '[': '[',
        ']': ']'
      }
      if (known[kind] === undefined) throw new Error(`llama.cpp knows no escape ${kind}`)
      return known[kind].charCodeAt(0)
    }
    const hex = this.#source.slice(this.#at, this.#at + digits)
    this.#at += digits
    return Number.parseInt(hex, 16)
  }

  #repeated(part: Node): Node {
    const [text, low, comma, high] = /^(?:[*+?]|\{(\d+)(,)?(\d+)?\})/.exec(this.#source.slice(this.#at)) ?? []
    if (text === undefined) return part
    this.#at += text.length
    if (low === undefined)
      return { kind: 'repeat', part, min: text === '+' ? 1 : 0, max: text === '?' ? 1 : Infinity }
    const max = comma === undefined ? Number(low) : Number(high ?? Infinity)
    // llama.cpp refuses longer ones, and takes a longer end for none.
    if (max !== Infinity && max > 2_000) throw new Error(`${text} is too long for llama.cpp`)
    return { kind: 'repeat', part, min: Number(low), max }
  }
}

/** Numbers in [0, 1), the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
