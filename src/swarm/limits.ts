import type { Clock } from '../common/index.ts'

export interface Rate {
  readonly burst: number
  /** One more after each. */
  readonly everyMs: number
}

/** A node announces a change at once, but not without end. */
export const AUTHOR: Rate = { burst: 10, everyMs: 2_000 }
/** What a node keeps to itself: below what others take from it, so that none of it is lost. */
export const OWN: Rate = { burst: 8, everyMs: 2_500 }
/** A consumer sees a few nodes die at once, when a site does. */
export const OBSERVER: Rate = { burst: 5, everyMs: 10_000 }
/** A node follows a few models, and says each of them once a minute at most. */
export const SUMMARIES: Rate = { burst: 32, everyMs: 2_000 }
/** Of what a neighbour passes on. A topic has five announcements per second, from some eight neighbours. */
export const NEIGHBOUR: Rate = { burst: 200, everyMs: 50 }
/** Of what all neighbours do, which is what this node passes on: 0.4 ms each, mostly for the signature. */
export const ALL_NEIGHBOURS: Rate = { burst: 1_500, everyMs: 5 }
/** More than {@link ALL_NEIGHBOURS} lets any honest node pass on; net looks at some more from one neighbour. */
export const FLOOD: Rate = { burst: 2_000, everyMs: 4 }
/** Three in a minute are an accident; gossipsub, too, listens to nobody who sent four. */
export const GARBAGE: Rate = { burst: 3, everyMs: 20_000 }
/** A directory is megabytes in a large swarm. */
export const DIRECTORIES: Rate = { burst: 10, everyMs: 1_000 }

/** Attackers with that many identities were slowed down by {@link NEIGHBOUR} on their way here. */
const MAX_KEYS = 32_768

/**
 * So much at once, and so much over time, for each of many: token buckets, each kept as the moment at which it is
 * full again (the "generic cell rate algorithm" of ATM networks).
 */
export class Limits {
  readonly #clock: Clock
  readonly #rate: Rate
  /** The least recently used first. */
  readonly #fullAt = new Map<string, number>()

  constructor(clock: Clock, rate: Rate) {
    this.#clock = clock
    this.#rate = rate
  }

  /** False: not now, and it costs nothing. */
  take(key: string): boolean {
    if (this.waitMs(key) > 0) return false
    const fullAt = Math.max(this.#fullAt.get(key) ?? -Infinity, this.#clock.now()) + this.#rate.everyMs
    this.#fullAt.delete(key)
    this.#fullAt.set(key, fullAt)
    if (this.#fullAt.size > MAX_KEYS) this.#sweep()
    return true
  }

  /** How long until it may be taken. */
  waitMs(key: string): number {
    const { burst, everyMs } = this.#rate
    return Math.max((this.#fullAt.get(key) ?? -Infinity) - this.#clock.now() - (burst - 1) * everyMs, 0)
  }

  /** At most half stay, so that sweeping costs little per key. */
  #sweep(): void {
    const now = this.#clock.now()
    for (const [key, fullAt] of this.#fullAt) {
      if (fullAt <= now || this.#fullAt.size > MAX_KEYS / 2) this.#fullAt.delete(key)
    }
  }
}
