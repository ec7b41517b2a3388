/** Questions and answers in turn, until one has had enough. As in `ollama run`, from which people come. */
import type { Writable } from 'node:stream'
import type { Option } from 'commander'
import { ShoalError } from '../../common/index.ts'
import { runCommand } from './commands.ts'
import type { Dialogue } from './dialogue.ts'
import type { Lines } from './lines.ts'
import { reportInWords, show } from './show.ts'

const PROMPT = '>>> '
const MORE = '... '
/** Begins and ends a message of several lines. */
const QUOTES = '"""'

export interface ReplInit {
  readonly dialogue: Dialogue
  readonly lines: Pick<Lines, 'next'>
  readonly output: Writable
  /** For what is no answer. */
  readonly say: (message: string) => void
  /** What `/set` can change, as options of the command line. */
  readonly options: readonly Option[]
  readonly verbose: boolean
  /** Does something that Ctrl-C ends, and nothing else. */
  readonly apart: <T>(work: (signal: AbortSignal) => Promise<T>) => Promise<T>
  /** Ends it all. */
  readonly signal: AbortSignal
}

type Input =
  | { readonly kind: 'text' | 'command'; readonly text: string }
  | { readonly kind: 'nothing' }
  | { readonly kind: 'end' }

export class Repl {
  readonly dialogue: Dialogue
  readonly say: (message: string) => void
  readonly options: readonly Option[]
  verbose: boolean
  isOver = false
  readonly #init: ReplInit
  /** A second Ctrl-C at an empty prompt leaves. */
  #isWarned = false

  constructor(init: ReplInit) {
    this.#init = init
    this.dialogue = init.dialogue
    this.say = init.say
    this.options = init.options
    this.verbose = init.verbose
  }

  /** Resolves when somebody leaves. */
  async run(): Promise<void> {
    const { signal } = this.#init
    while (!this.isOver && !signal.aborted) {
      const input = await this.#read()
      if (input.kind === 'end') return
      if (input.kind === 'nothing') continue
      try {
        if (input.kind === 'command') await runCommand(this, input.text)
        else await this.#ask(input.text)
      } catch (error) {
        this.#failed(error)
      }
    }
  }

  async #ask(question: string): Promise<void> {
    const { apart, output, say } = this.#init
    const report = await apart((signal) => show(this.dialogue.ask(question, signal), { output, note: say }))
    if (report.reason === 'length') say('note: there was no room for more ("/set max-tokens NUMBER")')
    if (this.verbose) for (const line of ['', ...reportInWords(report)]) say(line)
  }

  /** What was interrupted needs no words: whoever did it knows. */
  #failed(error: unknown): void {
    const { code, name, message } = error as NodeJS.ErrnoException
    if (name === 'AbortError' || code === 'ABORT_ERR') return
    if (!(error instanceof ShoalError) && code === undefined) throw error
    this.say(`error: ${message}`)
  }

  /** A message or a command, of several lines where it says so. */
  async #read(): Promise<Input> {
    const first = await this.#line(PROMPT)
    if (first.kind !== 'text') return first
    if (first.text.trimStart().startsWith(QUOTES))
      return this.#quoted(first.text.trimStart().slice(QUOTES.length))
    let { text } = first
    while (text.endsWith('\\')) {
      const next = await this.#line(MORE)
      if (next.kind !== 'text') return next
      text = `${text.slice(0, -1)}\n${next.text}`
    }
    text = text.trim()
    if (text === '') return { kind: 'nothing' }
    return { kind: text.startsWith('/') ? 'command' : 'text', text }
  }

  async #quoted(begin: string): Promise<Input> {
    let text = begin
    while (!text.trimEnd().endsWith(QUOTES)) {
      const next = await this.#line(MORE)
      if (next.kind !== 'text') return next
      text += `\n${next.text}`
    }
    const inside = text.trimEnd().slice(0, -QUOTES.length).replace(/^\n/, '')
    return inside.trim() === '' ? { kind: 'nothing' } : { kind: 'text', text: inside }
  }

  async #line(prompt: string): Promise<Input> {
    const typed = await this.#init.lines.next(prompt)
    if (typed.kind === 'line') {
      this.#isWarned = false
      return { kind: 'text', text: typed.text }
    }
    if (typed.kind === 'end') return { kind: 'end' }
    if (!typed.wasEmpty || prompt === MORE) return { kind: 'nothing' }
    if (this.#isWarned) return { kind: 'end' }
    this.#isWarned = true
    this.say('Press Ctrl-C again, Ctrl-D, or type /bye to leave.')
    return { kind: 'nothing' }
  }
}
