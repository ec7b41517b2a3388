/** Where no terminal shows the line that counts, there is a line after each of these. */
const LINE_MS = 10_000
/** Before that, how long it takes is a guess. */
const SURE_MS = 1_000

/** How far something slow is, on standard error. */
export class Percent {
  readonly #label: string
  readonly #start = performance.now()
  #saidAt = this.#start
  #shown = ''

  constructor(label: string) {
    this.#label = label
  }

  readonly report = (fraction: number): void => {
    const now = performance.now()
    const line = `${this.#label}: ${(fraction * 100).toFixed(0)} %${left(fraction, now - this.#start)}`
    if (process.stderr.isTTY) {
      if (line !== this.#shown) process.stderr.write(`\r\x1b[K${line}`)
    } else if (now - this.#saidAt >= LINE_MS) {
      this.#saidAt = now
      console.error(line)
    }
    this.#shown = line
  }

  /** Leaves no line behind on a terminal. */
  readonly end = (): void => {
    if (process.stderr.isTTY && this.#shown !== '') process.stderr.write('\r\x1b[K')
  }
}

function left(fraction: number, elapsedMs: number): string {
  if (fraction <= 0 || fraction >= 1 || elapsedMs < SURE_MS) return ''
  const seconds = (elapsedMs * (1 - fraction)) / fraction / 1000
  return seconds < 90 ? `, ${seconds.toFixed(0)} s left` : `, ${(seconds / 60).toFixed(0)} min left`
}
