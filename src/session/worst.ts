/** What is older than two periods says nothing about now. */
const PERIOD_MS = 15_000

/** The largest of the values lately: of this period and the one before. */
export class Worst {
  #period = 0
  #now = 0
  #before = 0

  add(value: number): void {
    this.#turn()
    this.#now = Math.max(this.#now, value)
  }

  get value(): number {
    this.#turn()
    return Math.max(this.#now, this.#before)
  }

  #turn(): void {
    const period = Math.floor(performance.now() / PERIOD_MS)
    if (period === this.#period) return
    this.#before = period === this.#period + 1 ? this.#now : 0
    this.#now = 0
    this.#period = period
  }
}
