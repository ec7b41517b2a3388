/** What one peer has requested of this node. */
import { WireError } from '../../net/index.ts'
import { MAX_REQUESTS } from './limits.ts'

/** A piece that is on its way. */
export interface Upload {
  readonly index: number
  /** How often others had got it from here when it was chosen. */
  readonly earlier: number
  readonly bytes: Uint8Array
  offset: number
}

export class Uploads {
  isChoked = true
  /** Bytes given, for sharing fairly: see Seeder. */
  served = 0
  /** In the order of their requests. */
  readonly waiting = new Set<number>()
  /** Being read from disk. */
  readonly reading = new Set<number>()
  /** Read, to be sent one after the other. */
  ready: Upload[] = []
  /** The stream takes no more for now. */
  isBlocked = false
  readonly #reject: (indices: number[]) => void

  constructor(reject: (indices: number[]) => void) {
    this.#reject = reject
  }

  add(index: number): void {
    if (
      this.waiting.has(index) ||
      this.reading.has(index) ||
      this.ready.some((upload) => upload.index === index)
    ) {
      throw new WireError('INVALID', `piece ${index} was requested twice`, 'indices')
    }
    if (this.waiting.size + this.reading.size + this.ready.length >= MAX_REQUESTS) {
      throw new WireError('TOO_LARGE', `more than ${MAX_REQUESTS} requests at once`, 'indices')
    }
    this.waiting.add(index)
  }

  /** A piece that is already gone, or never asked for, is nothing to cancel. */
  cancel(index: number): void {
    if (this.waiting.delete(index) || this.reading.delete(index) || this.#drop(index)) this.#reject([index])
  }

  choke(): void {
    this.isChoked = true
    const [begun] = this.ready.filter(({ offset }) => offset > 0)
    const rest = [...this.waiting, ...this.reading, ...this.ready.map(({ index }) => index)]
    this.end()
    if (begun !== undefined) this.ready.push(begun)
    const rejected = rest.filter((index) => index !== begun?.index)
    if (rejected.length > 0) this.#reject(rejected)
  }

  /** It could not be read. */
  fail(index: number): void {
    if (this.reading.delete(index)) this.#reject([index])
  }

  end(): void {
    this.waiting.clear()
    this.reading.clear()
    this.ready = []
  }

  #drop(index: number): boolean {
    const at = this.ready.findIndex((upload) => upload.index === index)
    if (at < 0) return false
    this.ready.splice(at, 1)
    return true
  }
}
