/** Nodes that measure each other under a simulated clock, with the code that real ones run. */
import type { Clock } from '../src/common/index.ts'
import type { Coordinate } from '../src/net/index.ts'
import { distanceMs, NetworkCoordinate } from '../src/swarm/coordinates.ts'
import { Latencies, type Place } from '../src/swarm/index.ts'
import { type Random, randomOf } from '../test/models/random.ts'
import type { NetworkModel } from './network-model.ts'

/** What others know of a node's coordinate is as old as its announcement. */
const ANNOUNCE_MS = 50_000
const PROBE_MS = 30_000

export class EmulatedNodes {
  readonly #network: NetworkModel
  readonly #random: Random
  readonly #nodes: readonly Latencies[]
  /** When each measures next. */
  readonly #due: number[]
  #announced: readonly (Coordinate | undefined)[] = []
  #announcedAt = Number.NEGATIVE_INFINITY
  #now = 0

  constructor(nodes: number, network: NetworkModel, seed: string) {
    this.#network = network
    const random = randomOf(seed)
    this.#random = random
    const coordinateOf = (peer: string): Coordinate | undefined => this.#announced[Number(peer)]
    this.#nodes = Array.from(
      { length: nodes },
      (_, index) => new Latencies({ clock: this.clock, random }, { self: String(index), coordinateOf })
    )
    this.#due = this.#nodes.map((node) => random() * node.probeAfterMs)
  }

  readonly clock: Clock = {
    now: () => this.#now,
    wall: () => this.#now,
    after: () => () => {} // nothing here takes time
  }

  /** Each node measures others until then. */
  runUntil(ms: number): void {
    for (;;) {
      const next = Math.min(...this.#due)
      if (next > ms) break
      this.#now = next
      this.#announce()
      const index = this.#due.indexOf(next)
      this.measure(index, anotherThan(index, this.#nodes.length, this.#random))
      this.#due[index] = next + this.of(index).probeAfterMs
    }
    this.#now = ms
    this.#announce()
  }

  /** Time passes, and nobody measures anything: what was measured is old. */
  rest(ms: number): void {
    this.#now += ms
  }

  #announce(): void {
    if (this.#now - this.#announcedAt < ANNOUNCE_MS) return
    this.#announcedAt = this.#now
    this.#announced = this.#nodes.map(({ here }) => here.coordinate)
  }

  /** One node measures another, which says where it is. */
  measure(index: number, other: number): void {
    const rttMs = this.#network.sampleMs(index, other, this.#random)
    this.of(index).measured(String(other), rttMs, this.of(other).here.coordinate)
  }

  of(index: number): Latencies {
    return this.#nodes[index] as Latencies
  }

  /** As others know it. */
  place(index: number): Place {
    return { peer: String(index), coordinate: this.#announced[index] }
  }

  /** How wrong predictions by coordinates alone are, relative to the true round trips, over all pairs. */
  errors(): number[] {
    return errorsOf(
      this.#nodes.map(({ here }) => here.coordinate as Coordinate),
      this.#network
    )
  }
}

/** The same without what Latencies adds to Vivaldi: each measurement is learned from once, as it is. */
export function plainVivaldi(nodes: number, network: NetworkModel, seed: string, untilMs: number): number[] {
  const random = randomOf(seed)
  const all = Array.from({ length: nodes }, () => new NetworkCoordinate(random))
  for (let ms = 0; ms < untilMs; ms += PROBE_MS) {
    for (const [index, node] of all.entries()) {
      const other = anotherThan(index, nodes, random)
      node.update((all[other] as NetworkCoordinate).current, network.sampleMs(index, other, random))
    }
  }
  return errorsOf(
    all.map(({ current }) => current),
    network
  )
}

function errorsOf(coordinates: readonly Coordinate[], network: NetworkModel): number[] {
  return coordinates.flatMap((a, index) =>
    coordinates
      .slice(0, index)
      .map((b, other) => Math.abs(distanceMs(a, b) / network.rttMs(index, other) - 1))
  )
}

function anotherThan(index: number, nodes: number, random: Random): number {
  return (index + 1 + Math.floor(random() * (nodes - 1))) % nodes
}
