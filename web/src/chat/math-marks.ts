/**
 * Finds formulas before Markdown is read, which would take `\(` and `_` for its own: each becomes inline code that begins
 * with a mark. The rules for a single `$` are pandoc's, so that prices stay prices.
 */

/** Private characters: what a text has of them itself is taken out. */
const INLINE = '\uE000'
const DISPLAY = '\uE001'
const MARKS = /[\uE000\uE001]/g

/** In characters: what is longer is no formula. */
const MAX_FORMULA = 5_000

export interface Formula {
  readonly latex: string
  readonly isDisplay: boolean
}

/** Of inline code; undefined: it is code. */
export function formulaOf(code: string): Formula | undefined {
  const [mark] = code
  return mark === INLINE || mark === DISPLAY
    ? { latex: code.slice(1), isDisplay: mark === DISPLAY }
    : undefined
}

export function markFormulas(markdown: string): string {
  if (!/[$\\]/.test(markdown)) return markdown.replace(MARKS, '')
  return new Scanner(markdown.replace(MARKS, '')).scan()
}

class Scanner {
  readonly #text: string
  /** Ends that are not found any more: so that a text of beginnings alone costs no more than its length. */
  readonly #missing = new Set<string>()
  #out = ''
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  scan(): string {
    const special = /^[ \t>]*(`{3,}|~{3,})|`+|\$\$?|\\[\s\S]?/gm
    for (let found = special.exec(this.#text); found !== null; found = special.exec(this.#text)) {
      const [sign, fence] = found
      const end =
        fence !== undefined ? this.#endOfFence(special.lastIndex, fence) : this.#endOf(sign, found.index)
      special.lastIndex = Math.max(end, special.lastIndex)
    }
    return this.#out + this.#text.slice(this.#at)
  }

  #endOfFence(from: number, fence: string): number {
    const end = new RegExp(`^[ \\t>]*${fence[0]}{${fence.length},}[ \\t]*$`, 'gm')
    end.lastIndex = from
    return end.exec(this.#text) === null ? this.#text.length : end.lastIndex
  }

  /** Of what begins with this sign at `start`; formulas are written out. 0: nothing that ends begins there. */
  #endOf(sign: string, start: number): number {
    const from = start + sign.length
    if (sign.startsWith('`')) return this.#find(sign, from, Number.POSITIVE_INFINITY) + sign.length
    const closing = { $: '$', $$: '$$', '\\(': '\\)', '\\[': '\\]' }[sign]
    if (closing === undefined) return 0
    const end = this.#find(closing, from, MAX_FORMULA)
    const latex = this.#text.slice(from, end)
    if (end < 0 || latex.trim() === '' || /\n\s*\n/.test(latex)) return 0
    const after = end + closing.length
    if (sign === '$' && !isFormula(latex, this.#text[start - 1], this.#text[after])) return 0
    const fence = '`'.repeat(1 + Math.max(0, ...(latex.match(/`+/g) ?? []).map((run) => run.length)))
    const mark = sign === '$' || sign === '\\(' ? INLINE : DISPLAY
    const code = `${fence}${mark}${latex.replace(/\s+/g, ' ').trim()} ${fence}`
    this.#out += this.#text.slice(this.#at, start) + code
    this.#at = after
    return after
  }

  /** -1 - sign: not there. */
  #find(sign: string, from: number, most: number): number {
    if (this.#missing.has(sign)) return -sign.length
    const end = this.#text.indexOf(sign, from)
    if (end < 0) this.#missing.add(sign)
    return end < 0 || end - from > most ? -sign.length : end
  }
}

function isFormula(latex: string, before: string | undefined, after: string | undefined): boolean {
  const isInWord = /[\w$\\]/.test(before ?? '') || /[\d$]/.test(after ?? '')
  return !isInWord && !/^\s|\s$|\n/.test(latex)
}
