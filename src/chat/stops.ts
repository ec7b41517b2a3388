/** The texts that end an answer, wherever its tokens part them. The one that begins first wins, then the shortest. */
export class StopStrings {
  /** The one that was found; nothing is let through after it. */
  found: string | undefined
  readonly #stops: readonly string[]
  #held = ''

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '').toSorted((a, b) => a.length - b.length)
  }

  /** What can be shown. `isEnd`: nothing comes that could complete what is held back. */
  push(text: string, isEnd = false): string {
    if (this.found !== undefined) return ''
    this.#held += text
    let at = Infinity
    let first: string | undefined
    for (const stop of this.#stops) {
      const index = this.#held.indexOf(stop)
      if (index < 0 || index >= at) continue
      at = index
      first = stop
    }
    const partial = isEnd ? Infinity : this.#partial()
    if (first !== undefined && at <= partial) {
      this.found = first
      return this.#take(at)
    }
    return this.#take(Math.min(partial, this.#held.length))
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length)
    this.#held = this.#held.slice(length)
    return text
  }

  /** Where one may have begun. */
  #partial(): number {
    return Math.min(...this.#stops.map((stop) => begun(this.#held, stop) ?? Infinity), Infinity)
  }
}

/** Where the end of a text is the beginning of a word, but not all of it. */
export function begun(text: string, word: string): number | undefined {
  for (let at = Math.max(0, text.length - word.length + 1); at < text.length; at++) {
    if (word.startsWith(text.slice(at))) return at
  }
  return undefined
}
