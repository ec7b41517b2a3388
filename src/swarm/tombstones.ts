import type { Clock } from '../common/index.ts'

const MAX_TOMBSTONES = 20_000

/**
 * Who is gone, as of which announcement, for as long as somebody could pass that one off as new. The oldest give way
 * to new ones when there are too many.
 */
export class Tombstones {
  readonly #clock: Clock
  readonly #byPeer = new Map<string, { readonly sequence: number; readonly until: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** -1: not gone. */
  sequenceOf(peer: string): number {
    return this.#byPeer.get(peer)?.sequence ?? -1
  }

  add(peer: string, sequence: number, ms: number): void {
    const now = this.#clock.now()
    this.#byPeer.delete(peer)
    this.#byPeer.set(peer, { sequence, until: now + ms })
    for (const [oldest, { until }] of this.#byPeer) {
      if (until > now && this.#byPeer.size <= MAX_TOMBSTONES) break
      this.#byPeer.delete(oldest)
    }
  }
}
