/** Seconds of work may pass without a word; so much of it may not. */
const LINE_STEP = 0.1

/** How far something slow is: one line that counts on a terminal, or a line now and then. */
export class Percent {
  readonly #label: string
  readonly #start = performance.now()
  #said = Number.NEGATIVE_INFINITY

  constructor(label: string) {
    this.#label = label
  }

  readonly report = (fraction: number): void => {
    const { isTTY } = process.stderr
    const step = isTTY ? 0.01 : LINE_STEP
    if (fraction < this.#said + step && fraction < 1) return
    this.#said = fraction
    const line = `${this.#label}: ${(fraction * 100).toFixed(0)} %${this.#left(fraction)}`
    process.stderr.write(isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }

  /** Leaves no line behind on a terminal. */
  readonly end = (): void => {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  }

  #left(fraction: number): string {
    if (fraction <= 0 || fraction >= 1) return ''
    const seconds = ((performance.now() - this.#start) * (1 - fraction)) / fraction / 1000
    return seconds < 90 ? `, ${seconds.toFixed(0)} s left` : `, ${(seconds / 60).toFixed(0)} min left`
  }
}
