/** Averages over about this long: some rounds of a chain. */
const WINDOW_MS = 1_000

/** The share of its time that a stage computes. */
export class Busy {
  share = 1
  #last: number | undefined

  step(started: number, ended: number): void {
    const from = Math.min(this.#last ?? started, started)
    const passed = ended - from
    this.#last = ended
    if (passed <= 0) return
    const weight = 1 - Math.exp(-passed / WINDOW_MS)
    this.share += ((ended - started) / passed - this.share) * weight
  }
}
