/**
 * LaTeX's formulas as MathML, which browsers draw and screen readers read by themselves: no fonts, no styles, no HTML.
 * What is not known is shown as it was written; nothing here fails. After MathML Core, https://w3c.github.io/mathml-core.
 */
import {
  ACCENTS,
  ALPHABETS,
  BELOW,
  bare,
  FUNCTIONS,
  INTEGRALS,
  LARGE,
  LETTERS,
  OLDER,
  OPERATORS,
  SPACES
} from './latex-symbols.ts'

/** An element of MathML, or a text. */
export type MathNode =
  | string
  | {
      readonly tag: string
      readonly attributes?: Readonly<Record<string, string>> | undefined
      readonly children: readonly MathNode[]
    }

/** People's formulas are below 10 deep. */
const MAX_DEPTH = 50

export function parseLatex(latex: string, isDisplay: boolean): MathNode {
  return new Parser(latex, isDisplay).all()
}

const node = (tag: string, children: readonly MathNode[], attributes?: Record<string, string>): MathNode => ({
  ...{ tag, children, attributes }
})
const row = (children: readonly MathNode[]): MathNode =>
  (children.length === 1 && children[0]) || node('mrow', children)
const operator = (text: string, isStretchy = false): MathNode =>
  node('mo', [text], isStretchy ? { stretchy: 'true' } : { stretchy: 'false' })

const DELIMITERS = bare<readonly [string, string]>({
  pmatrix: ['(', ')'],
  bmatrix: ['[', ']'],
  Bmatrix: ['{', '}'],
  vmatrix: ['|', '|'],
  Vmatrix: ['‖', '‖'],
  cases: ['{', '']
})

class Parser {
  readonly #tokens: readonly string[]
  readonly #isDisplay: boolean
  #at = 0
  #depth = 0

  constructor(latex: string, isDisplay: boolean) {
    this.#tokens =
      latex.replace(/(?<!\\)%.*$/gm, '').match(/\\(?:[a-zA-Z]+|[\s\S])|\s+|\d+(?:[.,]\d+)*|[\s\S]/gu) ?? []
    this.#isDisplay = isDisplay
  }

  all(): MathNode {
    const parts: MathNode[] = []
    // What closes and was not opened is skipped.
    for (; this.#at < this.#tokens.length; this.#at++) parts.push(...this.#until(() => false))
    return row(parts)
  }

  /** Up to the token that ends it, which stays; or up to one that closes something further out. */
  #until(isEnd: (token: string) => boolean): MathNode[] {
    const parts: MathNode[] = []
    for (;;) {
      this.#skipSpace()
      const token = this.#tokens[this.#at]
      if (token === undefined || token === '}' || token === '\\end' || token === '\\right' || isEnd(token))
        return parts
      if (token === '&' || token === '\\\\') {
        this.#at++
        continue
      }
      const part = this.#withScripts()
      if (part !== undefined) parts.push(part)
    }
  }

  #skipSpace(): void {
    while (/^\s/.test(this.#tokens[this.#at] ?? '')) this.#at++
  }

  #withScripts(): MathNode | undefined {
    const token = this.#tokens[this.#at]
    const base = token === '^' || token === '_' ? row([]) : this.#atom()
    const hasLimits = this.#isDisplay && token !== undefined && token.slice(1) in LARGE
    let below: MathNode | undefined
    let above: MathNode | undefined
    for (;;) {
      this.#skipSpace()
      const sign = this.#tokens[this.#at]
      if (sign === '_' && below === undefined) below = this.#script()
      else if (sign === '^' && above === undefined) above = this.#script()
      else if (sign === "'" && above === undefined) above = this.#primes()
      else if (sign === '\\limits' || sign === '\\nolimits') this.#at++
      else break
    }
    if (base === undefined) return undefined
    const [sub, sup, both] = hasLimits ? ['munder', 'mover', 'munderover'] : ['msub', 'msup', 'msubsup']
    if (below !== undefined && above !== undefined) return node(both ?? '', [base, below, above])
    if (below !== undefined) return node(sub ?? '', [base, below])
    return above === undefined ? base : node(sup ?? '', [base, above])
  }

  #script(): MathNode {
    this.#at++
    return this.#argument()
  }

  #primes(): MathNode {
    let text = ''
    for (; this.#tokens[this.#at] === "'"; this.#at++) text += '′'
    return operator(text)
  }

  /** A group, or one thing. */
  #argument(): MathNode {
    this.#skipSpace()
    return this.#atom() ?? row([])
  }

  #atom(): MathNode | undefined {
    const token = this.#tokens[this.#at++]
    if (token === undefined) return undefined
    if (this.#depth >= MAX_DEPTH) return node('mtext', [token])
    this.#depth++
    try {
      if (token === '{') return this.#group()
      if (token.startsWith('\\')) return this.#command(token.slice(1))
      if (/^\d/.test(token)) return node('mn', [token])
      if (/^\p{L}/u.test(token)) return node('mi', [token])
      return token === '~'
        ? node('mspace', [], { width: '0.25em' })
        : operator({ '-': '−', '*': '∗' }[token] ?? token)
    } finally {
      this.#depth--
    }
  }

  #group(): MathNode {
    const parts = this.#until(() => false)
    if (this.#tokens[this.#at] === '}') this.#at++
    return row(parts)
  }

  #command(name: string): MathNode | undefined {
    const letter = LETTERS[name]
    if (letter !== undefined) return node('mi', [letter])
    const sign = OPERATORS[name]
    if (sign !== undefined) return operator(sign)
    const large = LARGE[name] ?? INTEGRALS[name]
    if (large !== undefined)
      return /\w/.test(large) ? node('mo', [large]) : node('mo', [large], { largeop: 'true' })
    if (FUNCTIONS.has(name)) return node('mi', [name])
    const space = SPACES[name]
    if (space !== undefined) return node('mspace', [], { width: `${space}em` })
    const accent = ACCENTS[name]
    if (accent !== undefined)
      return node('mover', [this.#argument(), operator(accent, name !== 'bar')], { accent: 'true' })
    const below = BELOW[name]
    if (below !== undefined) return node('munder', [this.#argument(), operator(below, true)])
    if (name in ALPHABETS) return node('mi', [inAlphabet(name, this.#plain())])
    return this.#structure(name)
  }

  #structure(name: string): MathNode | undefined {
    switch (name) {
      case 'frac':
      case 'dfrac':
      case 'tfrac':
      case 'cfrac':
        return node('mfrac', [this.#argument(), this.#argument()])
      case 'binom': {
        const both = node('mfrac', [this.#argument(), this.#argument()], { linethickness: '0' })
        return node('mrow', [operator('(', true), both, operator(')', true)])
      }
      case 'sqrt':
        return this.#root()
      case 'text':
      case 'textbf':
      case 'textit':
      case 'textrm':
      case 'mbox':
        return node('mtext', [this.#plain(true)])
      case 'mathrm':
      case 'operatorname':
        return node('mi', [this.#plain()], { mathvariant: 'normal' })
      case 'left':
        return this.#fenced()
      case 'begin':
        return this.#table(this.#plain())
      case 'not':
        return operator(`${plainText(this.#argument())}\u0338`)
      case 'overset':
      case 'stackrel': {
        const above = this.#argument()
        return node('mover', [this.#argument(), above])
      }
      case 'underset': {
        const below = this.#argument()
        return node('munder', [this.#argument(), below])
      }
      case 'boxed':
        return node('mrow', [operator('[', true), this.#argument(), operator(']', true)])
    }
    if (
      /^(big|Big|bigg|Bigg)[lr]?$|^(display|text|script)style$|^limits$|^nonumber$|^middle$|^right$/.test(
        name
      )
    )
      return undefined
    if (name === '|') return operator('‖')
    return /^[a-zA-Z]/.test(name) ? node('mtext', [`\\${name}`]) : operator(name)
  }

  #root(): MathNode {
    this.#skipSpace()
    if (this.#tokens[this.#at] !== '[') return node('msqrt', [this.#argument()])
    this.#at++
    const index = row(this.#until((token) => token === ']'))
    this.#at++
    return node('mroot', [this.#argument(), index])
  }

  #fenced(): MathNode {
    const open = this.#delimiter()
    const parts = this.#until(() => false)
    const isClosed = this.#tokens[this.#at] === '\\right'
    if (isClosed) this.#at++
    const close = isClosed ? this.#delimiter() : ''
    const sides = (sign: string): MathNode[] => (sign === '' ? [] : [operator(sign, true)])
    return node('mrow', [...sides(open), ...parts, ...sides(close)])
  }

  #delimiter(): string {
    this.#skipSpace()
    const token = this.#tokens[this.#at++] ?? ''
    if (token === '.') return ''
    return token === '\\|'
      ? '‖'
      : token.startsWith('\\')
        ? (OPERATORS[token.slice(1)] ?? token.slice(1))
        : token
  }

  #table(name: string): MathNode {
    if (name === 'array') this.#plain() // how its columns are aligned
    const rows: MathNode[][] = [[]]
    const isEnd = (token: string): boolean => token === '&' || token === '\\\\'
    for (;;) {
      rows.at(-1)?.push(node('mtd', [row(this.#until(isEnd))]))
      const token = this.#tokens[this.#at]
      if (token === undefined || !isEnd(token)) break
      this.#at++
      if (token === '\\\\') rows.push([])
    }
    if (this.#tokens[this.#at] === '\\end') {
      this.#at++
      this.#plain()
    }
    const cells = rows.filter((each) => each.length > 1 || plainText(row(each)) !== '')
    const table = node(
      'mtable',
      cells.map((each) => node('mtr', each))
    )
    const [open, close] = DELIMITERS[name] ?? ['', '']
    if (open === '') return table
    return node('mrow', [operator(open, true), table, ...(close === '' ? [] : [operator(close, true)])])
  }

  /** What is in the next group, as it is written. */
  #plain(keepsSpace = false): string {
    this.#skipSpace()
    if (this.#tokens[this.#at] !== '{') return this.#tokens[this.#at++] ?? ''
    let text = ''
    let depth = 0
    for (; this.#at < this.#tokens.length; this.#at++) {
      const token = this.#tokens[this.#at] ?? ''
      if (token === '{') depth++
      else if (token === '}') depth--
      else if (keepsSpace || !/^\s/.test(token)) text += token
      if (depth === 0) break
    }
    this.#at++
    return keepsSpace ? text.replace(/^ | $/g, '\u00A0') : text
  }
}

function inAlphabet(name: string, text: string): string {
  const [upper, lower, digit] = ALPHABETS[name] ?? [0, 0]
  const moved = (letter: string): string => {
    const older = OLDER[name + letter]
    const code = letter.codePointAt(0) ?? 0
    if (older !== undefined) return older
    if (/[A-Z]/.test(letter)) return String.fromCodePoint(upper + code - 65)
    if (/[a-z]/.test(letter)) return String.fromCodePoint(lower + code - 97)
    return /\d/.test(letter) && digit !== undefined ? String.fromCodePoint(digit + code - 48) : letter
  }
  return Array.from(LETTERS[text.replace('\\', '')] ?? text, moved).join('')
}

function plainText(part: MathNode): string {
  return typeof part === 'string' ? part : part.children.map(plainText).join('')
}
