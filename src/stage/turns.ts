/**
 * Whose turn it is among owners, by rows served: start-time fair queueing (Goyal, Vin, Cheng 1996). An owner with
 * ten sessions gets as much as one with one, and who has not asked for a while saves nothing up.
 */
export class Turns {
  /** Virtual times, in rows, at which the owners' next service may begin. */
  readonly #starts = new Map<string, number>()
  /** The virtual time: when the last service began. */
  #now = 0

  /** Whose turn it is. */
  next(owners: Iterable<string>): string | undefined {
    let first: string | undefined
    for (const owner of owners) {
      if (first === undefined || this.#startOf(owner) < this.#startOf(first)) first = owner
    }
    return first
  }

  served(owner: string, rows: number): void {
    this.#now = this.#startOf(owner)
    this.#starts.set(owner, this.#now + rows)
  }

  forget(owner: string): void {
    this.#starts.delete(owner)
  }

  #startOf(owner: string): number {
    return Math.max(this.#starts.get(owner) ?? 0, this.#now)
  }
}
