/** How far nodes are from each other: what was measured from here, and what coordinates predict for all others. */
import type { Clock } from '../common/index.ts'
import type { Coordinate } from '../net/index.ts'
import { distanceMs, NetworkCoordinate } from './coordinates.ts'

/** Round trip of a link that nobody knows anything about: two homes on one continent. */
export const DEFAULT_RTT_MS = 50
/** An error of as much as the distance itself is no knowledge. */
const UNKNOWN_ERROR = 1
/** A measured link says more than coordinates for so long. */
const MEASURED_MS = 5 * 60_000
/** Measurements per link whose median counts, as in Serf: one that waited in some queue does not. */
const FILTER = 3
/** Links that are remembered. */
const MAX_LINKS = 256
/**
 * Links that each new measurement is learned from again, at their nodes' newest coordinates. With one measurement
 * per half minute Vivaldi needs an hour; measured: 27 % off after ten minutes without, 13 % with it.
 */
const REPLAYS = 16
/** One known node is measured so often; by a newcomer more often, until it knows about where it is. */
const PROBE_MS = 30_000
const FIRST_PROBE_MS = 5_000
const FIRST_PROBES = 16

/** A node, and where it says it is. */
export interface Place {
  readonly peer: string
  readonly coordinate?: Coordinate | undefined
}

export interface LatenciesComponents {
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
}

export interface LatenciesInit {
  /** Peer id of this node. */
  readonly self: string
  /** What a node said last of where it is. */
  readonly coordinateOf: (peer: string) => Coordinate | undefined
}

interface Link {
  /** The last ones, in milliseconds. */
  readonly rtts: readonly number[]
  readonly at: number
}

export class Latencies {
  readonly #clock: Clock
  readonly #random: () => number
  readonly #self: string
  readonly #coordinateOf: (peer: string) => Coordinate | undefined
  readonly #own: NetworkCoordinate
  /** By peer; the one measured last is last. */
  readonly #links = new Map<string, Link>()
  #measurements = 0

  constructor({ clock, random }: LatenciesComponents, { self, coordinateOf }: LatenciesInit) {
    this.#clock = clock
    this.#random = random
    this.#self = self
    this.#coordinateOf = coordinateOf
    this.#own = new NetworkCoordinate(random)
  }

  /** This node. */
  get here(): Place {
    return { peer: this.#self, coordinate: this.#own.current }
  }

  /** When to measure the next known node, chosen at random, after the last. */
  get probeAfterMs(): number {
    return this.#measurements < FIRST_PROBES ? FIRST_PROBE_MS : PROBE_MS
  }

  /** A round trip from here was measured; `coordinate`, if the peer just said it. */
  measured(peer: string, rttMs: number, coordinate = this.#coordinateOf(peer)): void {
    if (!(rttMs > 0)) return
    const rtts = [...(this.#links.get(peer)?.rtts ?? []), rttMs].slice(-FILTER)
    this.#links.delete(peer)
    this.#links.set(peer, { rtts, at: this.#clock.now() })
    if (this.#links.size > MAX_LINKS) this.#links.delete(this.#links.keys().next().value as string)
    if (coordinate === undefined) return
    this.#measurements++
    this.#replay()
    this.#own.update(coordinate, typical(rtts))
  }

  #replay(): void {
    const links = [...this.#links]
    for (let time = 0; time < REPLAYS; time++) {
      const [peer, { rtts }] = links[Math.floor(this.#random() * links.length)] as [string, Link]
      const coordinate = this.#coordinateOf(peer)
      if (coordinate !== undefined) this.#own.update(coordinate, typical(rtts))
    }
  }

  /** The round trip between two nodes, one of which may be this one, in milliseconds. */
  predict(a: Place, b: Place): number {
    return this.from(a)(b)
  }

  /** {@link predict} for many others. */
  from(a: Place): (b: Place) => number {
    if (a.peer === this.#self) return (b) => this.#measuredMs(b.peer) ?? predicted(a, b) ?? DEFAULT_RTT_MS
    return (b) =>
      (b.peer === this.#self ? this.#measuredMs(a.peer) : undefined) ?? predicted(a, b) ?? DEFAULT_RTT_MS
  }

  /** From here, measured lately or predicted; undefined where anything would be a guess. */
  to(b: Place): number | undefined {
    return this.#measuredMs(b.peer) ?? predicted(this.here, b)
  }

  #measuredMs(peer: string): number | undefined {
    const link = this.#links.get(peer)
    return link === undefined || this.#clock.now() - link.at > MEASURED_MS ? undefined : typical(link.rtts)
  }
}

function predicted(a: Place, b: Place): number | undefined {
  if (a.peer === b.peer) return 0
  if (a.coordinate === undefined || b.coordinate === undefined) return undefined
  if (a.coordinate.error >= UNKNOWN_ERROR || b.coordinate.error >= UNKNOWN_ERROR) return undefined
  return distanceMs(a.coordinate, b.coordinate)
}

/** The median; of two the shorter one, since what goes wrong takes longer. */
function typical(rtts: readonly number[]): number {
  return rtts.toSorted((a, b) => a - b)[(rtts.length - 1) >> 1] as number
}
