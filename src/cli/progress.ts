import type { FetchOptions } from '../node/index.ts'
import { mayChat, note } from './output.ts'
import { size, time } from './units.ts'

type Step = Parameters<NonNullable<FetchOptions['onProgress']>>[0]

/** A terminal's line is as often written anew. */
const FRAME_MS = 100
/** Where there is no terminal, there is a line after each of these. */
const LINE_MS = 10_000
/** The rate is that of so long. */
const WINDOW_MS = 5_000

/** How far something is that is counted in bytes, on standard error: one line on a terminal, few elsewhere. */
export class Progress {
  #label: string
  #shownAt = Number.NEGATIVE_INFINITY
  #isShown = false
  readonly #marks: { at: number; bytes: number }[] = []

  constructor(label: string) {
    this.#label = label
    if (process.stderr.isTTY) this.#show(label)
    else this.#shownAt = performance.now() // what is done at once needs no words
  }

  /** What is being done now is something else. */
  begin(label: string): void {
    this.#label = label
    this.#marks.length = 0
    if (process.stderr.isTTY) this.#show(label)
  }

  readonly report = (step: Step): void => {
    const now = performance.now()
    this.#mark(now, step.bytes ?? 0)
    const isTerminal = process.stderr.isTTY
    if (now - this.#shownAt < (isTerminal ? FRAME_MS : LINE_MS)) return
    this.#shownAt = now
    const line = `${this.#label}: ${this.#inWords(step)}`
    if (isTerminal) this.#show(line)
    else note(line)
  }

  /** Something else that is to be read. */
  readonly say = (message: string): void => {
    this.end()
    console.error(message)
  }

  /** Leaves no line behind on a terminal. */
  readonly end = (): void => {
    if (this.#isShown) process.stderr.write('\r\x1b[K')
    this.#isShown = false
  }

  #show(line: string): void {
    if (!mayChat()) return
    const columns = process.stderr.columns ?? 80
    process.stderr.write(`\r\x1b[K${line.slice(0, columns - 1)}`)
    this.#isShown = true
  }

  #mark(at: number, bytes: number): void {
    this.#marks.push({ at, bytes })
    while (this.#marks.length > 2 && at - (this.#marks[1]?.at ?? at) > WINDOW_MS) this.#marks.shift()
  }

  get #bytesPerSecond(): number {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)]
    if (first === undefined || last === undefined || last.at === first.at) return 0
    return ((last.bytes - first.bytes) * 1000) / (last.at - first.at)
  }

  #inWords({ bytes = 0, totalBytes = 0, pieces, totalPieces, peers, fetched }: Step): string {
    const rate = this.#bytesPerSecond
    const left = totalBytes - bytes
    return [
      `${totalBytes === 0 ? 100 : Math.floor((100 * bytes) / totalBytes)} % of ${size(totalBytes)}`,
      ...(totalPieces === undefined ? [] : [`${pieces} of ${totalPieces} pieces`]),
      ...(peers === undefined ? [] : [`${peers} ${peers === 1 ? 'peer' : 'peers'}`]),
      ...((fetched?.http ?? 0) > 0 ? [`${size(fetched?.http ?? 0)} from its source`] : []),
      ...(rate > 0 ? [`${size(rate)}/s`] : []),
      ...(rate > 0 && left > 0 ? [`${time(left / rate)} left`] : [])
    ].join(', ')
  }
}
