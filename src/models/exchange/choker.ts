/** Which peers are served, where more want pieces than there are places. */
import type { PieceLink } from './link.ts'

/** Served at once: with more, each would get its pieces so slowly that nobody has any to pass on. */
export const SLOTS = 8
/** How often it is decided: long enough for TCP to get up to speed (Cohen, 2003). */
export const CHOKE_MS = 10_000
/** How long a place is kept while others wait: a few pieces of 4 MiB, or some hundred small ones. */
const TURN_MS = 30_000

interface Standing {
  /** When its turn began; undefined: it is choked. */
  since: number | undefined
  /** When its last turn ended. */
  last: number
  /** What it had given when that was last looked at. */
  given: number
  /** In the time between. */
  lately: number
}

/**
 * BitTorrent's choking (B. Cohen, "Incentives build robustness in BitTorrent", 2003), with more turns and less
 * tit-for-tat: half of the places go to those who gave this node the most lately, so that pieces spread by those who
 * pass them on; the rest go round (libtorrent's `round_robin` for seeds), since everybody is served here, whatever they
 * give.
 */
export class Choker {
  readonly #slots: number
  readonly #standings = new WeakMap<PieceLink, Standing>()

  constructor(slots = SLOTS) {
    this.#slots = slots
  }

  /** Once per CHOKE_MS. */
  measure(links: Iterable<PieceLink>): void {
    for (const link of links) {
      const standing = this.#of(link)
      standing.lately = link.downloads.bytes - standing.given
      standing.given = link.downloads.bytes
    }
  }

  /** Whom to serve from now on. */
  choose(links: Iterable<PieceLink>, now: number): Set<PieceLink> {
    const interested = [...links].filter((link) => link.isInterested)
    const givers = interested.filter((link) => this.#of(link).lately > 0)
    givers.sort((a, b) => this.#of(b).lately - this.#of(a).lately)
    const chosen = new Set(givers.slice(0, Math.floor(this.#slots / 2)))
    const rank = (link: PieceLink): number => {
      const { since, last } = this.#of(link)
      if (since === undefined) return last
      return now - since < TURN_MS ? Number.NEGATIVE_INFINITY : now
    }
    const others = interested.filter((link) => !chosen.has(link)).sort((a, b) => rank(a) - rank(b) || 0)
    for (const link of others.slice(0, this.#slots - chosen.size)) chosen.add(link)
    for (const link of links) this.#note(this.#of(link), chosen.has(link), now)
    return chosen
  }

  #note(standing: Standing, isServed: boolean, now: number): void {
    if (!isServed) {
      if (standing.since !== undefined) standing.last = now
      standing.since = undefined
    } else if (standing.since === undefined || now - standing.since >= TURN_MS) {
      standing.since = now
    }
  }

  #of(link: PieceLink): Standing {
    const known = this.#standings.get(link)
    if (known !== undefined) return known
    const standing = { since: undefined, last: Number.MIN_SAFE_INTEGER, given: 0, lately: 0 }
    this.#standings.set(link, standing)
    return standing
  }
}
