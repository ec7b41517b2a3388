/** What a replay log knows of each row beside its payload; 9 bytes per row, always in memory. */
import type { Frame, SampleMode } from '../net/index.ts'
import type { FrameState } from './frames.ts'
import { DECODE_ROWS } from './take.ts'

const FIRST_ROWS = 256
const DRAW = 1
const LOST = 2

export class RowTable {
  length = 0
  #tokens = new Int32Array(FIRST_ROWS)
  #epochs = new Uint32Array(FIRST_ROWS)
  #flags = new Uint8Array(FIRST_ROWS)

  /** A frame that does not follow the last row is the programmer's mistake. */
  append({ epoch, position, tokens, sample }: Omit<Frame, 'follows' | 'payload'>): void {
    if (position !== this.length) throw new Error(`a frame at ${position} in a log of ${this.length} rows`)
    if (position > 0 && epoch < this.#epochs[position - 1]!) throw new Error(`epoch ${epoch} went back`)
    const end = position + tokens.length
    this.#reserve(end)
    this.#tokens.set(tokens, position)
    this.#epochs.fill(epoch, position, end)
    this.#flags.fill(sample === 'all' ? DRAW : 0, position, end)
    if (sample === 'last' && end > position) this.#flags[end - 1] = DRAW
    this.length = end
  }

  #reserve(rows: number): void {
    if (rows <= this.#tokens.length) return
    const capacity = Math.max(rows, 2 * this.#tokens.length)
    const [tokens, epochs, flags] = [this.#tokens, this.#epochs, this.#flags]
    this.#tokens = new Int32Array(capacity)
    this.#epochs = new Uint32Array(capacity)
    this.#flags = new Uint8Array(capacity)
    this.#tokens.set(tokens)
    this.#epochs.set(epochs)
    this.#flags.set(flags)
  }

  /** See ReplayLog.held. */
  held(state: FrameState): number {
    let low = 0
    let high = this.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#epochs[middle]! > state.epoch) high = middle
      else low = middle + 1
    }
    return low === this.length ? state.length : Math.min(state.length, low)
  }

  /** The longest frame from row `from` to `limit` at most, without its payload; a window's are few. See ReplayLog.read. */
  frameAt(from: number, limit: number, drawFrom: number): Omit<Frame, 'codec' | 'payload'> {
    const { end, sample } = this.#cut(from, limit, drawFrom)
    const tokens = this.#tokens.slice(from, end)
    return { epoch: this.#epochs[from]!, follows: this.epochBefore(from), position: from, tokens, sample }
  }

  /** Of the row before this one; 0 before the first. */
  epochBefore(row: number): number {
    return row === 0 ? 0 : this.#epochs[row - 1]!
  }

  #cut(from: number, limit: number, drawFrom: number): { end: number; sample: SampleMode } {
    const epoch = this.#epochs[from]
    const isDrawn = (row: number): boolean => row >= drawFrom && (this.#flags[row]! & DRAW) !== 0
    const belongs = (row: number): boolean => row < limit && this.#epochs[row] === epoch && !this.isLost(row)
    let end = from
    if (isDrawn(from)) {
      while (end < from + DECODE_ROWS && belongs(end) && isDrawn(end)) end++
      return { end, sample: end - from === 1 ? 'last' : 'all' }
    }
    while (belongs(end) && !isDrawn(end)) end++
    return belongs(end) ? { end: end + 1, sample: 'last' } : { end, sample: 'none' }
  }

  /** Whether the row's payload could not be kept. */
  isLost(row: number): boolean {
    return (this.#flags[row]! & LOST) !== 0
  }

  lose(from: number, to: number): void {
    for (let row = from; row < to; row++) this.#flags[row]! |= LOST
  }
}
