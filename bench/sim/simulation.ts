/** A swarm's hour: nodes come, decide what to host, ask each other, leave and die. */
import { createOpener } from '../../src/swarm/announcement.ts'
import { openingOnce } from '../../src/swarm/testing.ts'
import { type Random, randomOf } from '../../test/models/random.ts'
import { SimClock } from './clock.ts'
import type { Death, SimHost } from './host.ts'
import { machineOf, modelsOf, Popularity } from './machines.ts'
import { Measures, type Outcome } from './measures.ts'
import { SimNetwork } from './network.ts'
import { SimNode } from './node.ts'
import { Sessions } from './sessions.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
export const MODELS = 50
/** Nodes that are always there, and what others are told of them. */
const BOOTSTRAP = { nodes: 10, told: 3 }
/** Part of the nodes that leave in an hour, and as many come. Half of them die without a word. */
const CHURN_PER_HOUR = 0.3
const SILENT_SHARE = 0.5
/** Of all nodes together: 1,000 per minute for 10,000. */
const REQUESTS_PER_NODE_MINUTE = 0.1

export interface SimulationInit {
  readonly nodes: number
  /** Over which the nodes come. */
  readonly rampMinutes: number
  /** That are measured, after all have come and `settleMinutes` more. */
  readonly minutes: number
  readonly settleMinutes: number
  readonly seed: string
  /** Models that a node has the files of. */
  readonly shelf: number
  readonly log: (message: string) => void
}

export class Simulation {
  readonly clock: SimClock
  readonly network: SimNetwork
  readonly nodes = new Map<string, SimNode>()
  readonly models: ReturnType<typeof modelsOf>
  readonly popularity = new Popularity(MODELS)
  readonly sessions: Sessions
  readonly #init: SimulationInit
  readonly #random: Random
  readonly #measures: Measures
  /** Signatures are not checked; all else is read as it is, but once for all nodes. */
  readonly #opener = openingOnce(createOpener(() => true))
  readonly #endMs: number
  readonly #bootstrap: SimHost[] = []
  #churned = 0

  constructor(init: SimulationInit) {
    const { nodes, rampMinutes, minutes, settleMinutes, seed } = init
    this.#init = init
    this.#endMs = (rampMinutes + settleMinutes + minutes) * MINUTE_MS
    this.clock = new SimClock(this.#endMs)
    const newcomers = 2 * nodes * CHURN_PER_HOUR * (this.#endMs / HOUR_MS)
    this.network = new SimNetwork(this.clock, Math.ceil(nodes + newcomers) + 100, seed)
    this.#random = randomOf(`${seed} people`)
    this.models = modelsOf(MODELS, this.#random)
    this.#measures = new Measures(this)
    this.sessions = new Sessions({
      ...{ network: this.network, random: this.#random, nodeOf: (peer) => this.nodes.get(peer) },
      onRequest: (result) => this.#measures.requested(result),
      onLost: (isMended) => this.#measures.lost(isMended)
    })
  }

  async run(): Promise<Outcome> {
    const { nodes, rampMinutes, minutes, log } = this.#init
    for (let count = 0; count < nodes; count++) {
      this.clock.after(count < BOOTSTRAP.nodes ? 0 : (count / nodes) * rampMinutes * MINUTE_MS, () =>
        this.#come()
      )
    }
    this.#ask()
    this.#churn()
    const startedAt = performance.now()
    for (let minute = 1; minute * MINUTE_MS <= this.#endMs; minute++) {
      await this.clock.runUntil(minute * MINUTE_MS)
      if (minute * MINUTE_MS === this.#endMs - minutes * MINUTE_MS) this.#measures.begin()
      log(`${nodes} nodes, minute ${minute}: ${this.#measures.line()}, ${seconds(startedAt)} s`)
    }
    return await this.#measures.end()
  }

  #come(): void {
    const addresses: string[] = []
    while (addresses.length < Math.min(BOOTSTRAP.told, this.#bootstrap.length)) {
      const index = Math.floor(this.#random() * this.#bootstrap.length)
      const address = this.#bootstrap[index]?.addresses[0] as string
      if (!addresses.includes(address)) addresses.push(address)
    }
    const left = [...this.models]
    const shelved = Array.from({ length: this.#init.shelf }, () => {
      const [model] = left.splice(Math.floor(this.#random() * left.length), 1)
      return model as (typeof left)[number]
    })
    const node = new SimNode(this.network, this.#random, this.#opener, {
      ...{ machine: machineOf(this.#random), addresses },
      shelf: new Map(shelved.map((model) => [model.hostable.model, model])),
      onLoad: (isFirst) => this.#measures.loaded(isFirst)
    })
    if (this.#bootstrap.length < BOOTSTRAP.nodes) this.#bootstrap.push(node.host)
    this.nodes.set(node.host.peerId, node)
    void node.start()
  }

  /** Of those that may go. */
  #anybody(): SimNode | undefined {
    const hosts = [...this.nodes.values()]
    const node = hosts[Math.floor(this.#random() * hosts.length)]
    return node === undefined || node.isLeaving ? undefined : node
  }

  #ask(): void {
    const perMs = (this.#init.nodes * REQUESTS_PER_NODE_MINUTE) / MINUTE_MS
    this.clock.after(exponential(this.#random, 1 / perMs), () => {
      this.#ask()
      // While nodes are coming, so are requests.
      if (this.#random() * this.#init.nodes > this.nodes.size) return
      const model = this.models[this.popularity.draw(this.#random)]?.hostable.model as string
      const consumer = this.#anybody()
      if (consumer !== undefined) void this.sessions.ask(consumer, model)
    })
  }

  #churn(): void {
    const perMs = (this.#init.nodes * CHURN_PER_HOUR) / HOUR_MS
    this.clock.after(exponential(this.#random, 1 / perMs), () => {
      this.#churn()
      this.#churned += this.nodes.size / this.#init.nodes
      if (this.#churned < 1) return
      this.#churned -= 1
      const node = this.#anybody()
      if (node === undefined || node.host.index < BOOTSTRAP.nodes) return
      this.clock.after(exponential(this.#random, 1 / perMs), () => this.#come())
      if (this.#random() < SILENT_SHARE) this.#die(node)
      else void node.leave().then(() => this.nodes.delete(node.host.peerId))
    })
  }

  /** Either its process alone, or the machine. */
  #die(node: SimNode): void {
    const death: Death = this.#random() < 0.5 ? 'refuses' : 'silent'
    this.#measures.dies(node)
    node.die(death)
    this.nodes.delete(node.host.peerId)
  }
}

function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random())
}

function seconds(since: number): number {
  return Math.round((performance.now() - since) / 1000)
}
