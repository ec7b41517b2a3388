/** Lines that a person types, with a history, and what else they press. */
import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { createInterface, type Interface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

/** Kept between conversations. */
const HISTORY_LINES = 1_000
/** Prompts are nobody else's business. */
const ONLY_OWNER = 0o600

export type Typed =
  | { readonly kind: 'line'; readonly text: string }
  /** Ctrl-C. */
  | { readonly kind: 'interrupted'; readonly wasEmpty: boolean }
  /** Ctrl-D, or no more input. */
  | { readonly kind: 'end' }

export interface LinesInit {
  readonly input: Readable & Partial<Pick<NodeJS.ReadStream, 'isTTY' | 'setRawMode'>>
  readonly output: Writable
  /** Default: as `output` is one. */
  readonly terminal?: boolean
  /** Where lines are kept; undefined: nowhere. */
  readonly historyPath?: string | undefined
  readonly signal: AbortSignal
}

export class Lines {
  readonly #init: LinesInit
  readonly #interface: Interface
  readonly #typed: Typed[] = []
  #wake: (() => void) | undefined

  static async open(init: LinesInit): Promise<Lines> {
    const history = init.historyPath === undefined ? [] : await readHistory(init.historyPath)
    return new Lines(init, history)
  }

  private constructor(init: LinesInit, history: string[]) {
    const { input, output, terminal, signal } = init
    this.#init = init
    const lines = createInterface({
      ...{ input, output, history, historySize: HISTORY_LINES, removeHistoryDuplicates: true, signal },
      ...(terminal === undefined ? {} : { terminal })
    })
    this.#interface = lines
    lines.on('line', (text) => this.#push({ kind: 'line', text }))
    lines.on('SIGINT', () => this.#interrupted())
    lines.on('close', () => this.#push({ kind: 'end' }))
    this.#listen(false)
  }

  /** The next line; those typed ahead first. */
  async next(prompt: string): Promise<Typed> {
    if (this.#typed.length === 0) {
      this.#listen(true)
      this.#interface.setPrompt(prompt)
      this.#interface.prompt()
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#listen(false)
    }
    const typed = this.#typed[0] as Typed
    if (typed.kind !== 'end') this.#typed.shift() // the end stays the end
    if (typed.kind === 'line') await this.#remember(typed.text)
    return typed
  }

  close(): void {
    this.#interface.close()
  }

  /** While nobody waits for a line, Ctrl-C is the process's, and what is typed stays where it is. */
  #listen(isWaiting: boolean): void {
    const { input } = this.#init
    if (this.#typed.at(-1)?.kind === 'end') return
    if (input.isTTY) input.setRawMode?.(isWaiting)
    if (isWaiting) this.#interface.resume()
    else this.#interface.pause()
  }

  #push(typed: Typed): void {
    this.#typed.push(typed)
    this.#wake?.()
  }

  #interrupted(): void {
    const wasEmpty = this.#interface.line === ''
    // To the end, and all of it away.
    this.#interface.write(null, { ctrl: true, name: 'e' })
    this.#interface.write(null, { ctrl: true, name: 'u' })
    this.#init.output.write('\n')
    this.#push({ kind: 'interrupted', wasEmpty })
  }

  async #remember(line: string): Promise<void> {
    const { historyPath } = this.#init
    if (historyPath === undefined || line.trim() === '') return
    await appendFile(historyPath, `${line}\n`, { mode: ONLY_OWNER }).catch(() => {}) // it is a convenience
  }
}

/** The last lines, newest first; the file is cut to them. */
async function readHistory(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const all = text.split('\n').filter((line) => line !== '')
  const last = all.slice(-HISTORY_LINES)
  if (all.length > 2 * last.length) {
    await writeFile(path, `${last.join('\n')}\n`, { mode: ONLY_OWNER }).catch(() => {})
  }
  return last.reverse()
}
