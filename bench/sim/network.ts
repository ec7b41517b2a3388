/** Who there is, how far they are from each other, and what goes between them. */
import { type Random, randomOf } from '../../test/models/random.ts'
import { NetworkModel } from '../network-model.ts'
import type { SimClock } from './clock.ts'
import { Gossip } from './gossip.ts'
import { SimHost } from './host.ts'
import { Kinds } from './traffic.ts'

export class SimNetwork {
  readonly clock: SimClock
  readonly random: Random
  readonly gossip: Gossip
  readonly kinds = new Kinds()
  /** Also those that are gone. */
  readonly hosts = new Map<string, SimHost>()
  /** Between two homes, for what is not worth its own place. */
  readonly typicalMs = 100
  /** Nothing takes time any more. */
  isInstant = false
  readonly #model: NetworkModel
  readonly #providers = new Map<string, Set<SimHost>>()

  constructor(clock: SimClock, mostHosts: number, seed: string) {
    this.clock = clock
    this.random = randomOf(seed)
    this.#model = new NetworkModel(mostHosts, seed)
    this.gossip = new Gossip(clock, this.random, this.kinds, mostHosts)
  }

  add(): SimHost {
    const host = new SimHost(this, this.hosts.size)
    this.hosts.set(host.peerId, host)
    return host
  }

  /** A round trip now. */
  roundTripMs(one: SimHost, other: SimHost): number {
    return this.#model.sampleMs(one.index, other.index, this.random)
  }

  /** What it usually takes. */
  usualMs(one: SimHost, other: SimHost): number {
    return one.links.get(other) ?? this.#model.rttMs(one.index, other.index)
  }

  provided(model: string, host: SimHost): void {
    const providers = this.#providers.get(model) ?? new Set()
    this.#providers.set(model, providers.add(host))
  }

  /** Records live for two days: also those of nodes that are gone. */
  providersOf(model: string, most: number): SimHost[] {
    const all = [...(this.#providers.get(model) ?? [])]
    while (all.length > most) all.splice(Math.floor(this.random() * all.length), 1)
    return all
  }
}
