import type { PieceSource } from '../contract.ts'

export interface TransferProgress {
  /** Here, of all that were asked for; those that were here before count. */
  readonly pieces: number
  readonly totalPieces: number
  readonly bytes: number
  readonly totalBytes: number
  /** Fetched, by the kind of source. */
  readonly fetched: Readonly<Record<PieceSource['kind'], number>>
  /** That pieces may come from now. */
  readonly peers: number
  readonly bytesPerSecond: number
  /** Undefined: nothing comes. */
  readonly etaSeconds: number | undefined
}

/** Bytes per second over the last seconds, measured whenever somebody looks. */
export class Rate {
  readonly #windowMs: number
  readonly #marks: { at: number; bytes: number }[] = []

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** To be called now and then, with all bytes that ever came. */
  mark(at: number, bytes: number): void {
    this.#marks.push({ at, bytes })
    while (this.#marks.length > 2 && at - (this.#marks[1]?.at ?? at) >= this.#windowMs) this.#marks.shift()
  }

  get bytesPerSecond(): number {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)]
    if (first === undefined || last === undefined || last.at === first.at) return 0
    return ((last.bytes - first.bytes) * 1000) / (last.at - first.at)
  }
}
