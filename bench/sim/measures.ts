/** What is seen of a simulated swarm by somebody who sees everything. */
import { median } from '../bench.ts'
import { Popularity } from './machines.ts'
import type { SimNode } from './node.ts'
import type { RequestResult } from './sessions.ts'
import { MODELS, type Simulation } from './simulation.ts'
import { noCounts } from './traffic.ts'

const SAMPLE_MS = 10_000
/** How long after a death it is looked who still lists the dead. */
const AGES_SECONDS = [10, 30, 60, 120, 300, 600]
/** Requests whose routing is timed. */
const TIMED = 1_000
const WARM_UP = 100

/** All that a run gives; shares are of 1, times in milliseconds. */
export interface Outcome {
  nodes: number
  minutes: number
  /** Memory that the nodes give, as a multiple of what one copy of each model takes. */
  memory: number
  covered: number
  /** Of requests, if they came evenly: models weighted by demand. */
  coveredByDemand: number
  movesPerNodeHour: number
  firstLoadsPerNodeHour: number
  hosting: number
  requests: number
  atOnce: number
  afterWaiting: number
  noChain: number
  notOpened: number
  deadChains: number
  movedChains: number
  fullChains: number
  hops: number
  losses: number
  mended: number
  messages: Spread
  gossip: Spread
  repeated: Spread
  kilobytesIn: Spread
  kilobytesOut: Spread
  connections: Spread
  followed: Spread
  listed: Spread
  /** Of those that nodes list. */
  deadListed: number
  /** Of the nodes that list a dead one: how many still do, by age in seconds. */
  staleUsed: Record<string, number>
  staleOthers: Record<string, number>
  deaths: { used: number; others: number }
  routeCpuMs: Spread
  /** Where the consumer heard of the model already. */
  routeMs: Spread
  /** Where it did not. */
  routeNewMs: Spread
  /** Followers that an announcement reaches. */
  reach: number
  kinds: Record<string, number>
  statuses: Record<string, number>
  cpuMsPerNodeSecond: number
  heapMegabytes: number
}

export interface Spread {
  readonly median: number
  readonly p99: number
  readonly mean: number
}

interface Death {
  readonly isUsed: boolean
  readonly listers: readonly SimNode[]
}

export class Measures {
  readonly #simulation: Simulation
  readonly #popularity = new Popularity(MODELS)
  #hasBegun = false
  #beganAt = 0
  #cpuAt = 0
  #nodes: SimNode[] = []
  #moves = 0
  #firstLoads = 0
  #nodeSeconds = 0
  readonly #covered: number[] = []
  readonly #coveredByDemand: number[] = []
  readonly #hosting: number[] = []
  readonly #deadListed: number[] = []
  readonly #requests: RequestResult[] = []
  readonly #losses: boolean[] = []
  readonly #deaths: Death[] = []
  /** By age, of used and others: how many list it still, of how many. */
  readonly #stale = new Map<string, { listed: number; of: number }>()

  constructor(simulation: Simulation) {
    this.#simulation = simulation
  }

  begin(): void {
    const { clock, network, nodes } = this.#simulation
    this.#hasBegun = true
    this.#beganAt = clock.now()
    this.#nodes = [...nodes.values()]
    for (const { host } of this.#nodes) host.counts = noCounts()
    network.kinds.clear()
    this.#cpuAt = cpuMs()
    this.#sample()
  }

  loaded(isFirst: boolean): void {
    if (!this.#hasBegun) return
    if (isFirst) this.#firstLoads += 1
    else this.#moves += 1
  }

  requested(result: RequestResult): void {
    if (this.#hasBegun) this.#requests.push(result)
  }

  lost(isMended: boolean): void {
    if (this.#hasBegun) this.#losses.push(isMended)
  }

  /** To be called before it does. */
  dies(node: SimNode): void {
    if (!this.#hasBegun) return
    const { clock, nodes } = this.#simulation
    const { peerId } = node.host
    const listers = [...nodes.values()].filter(
      (other) => other !== node && other.participant.swarm.directory.get(peerId) !== undefined
    )
    const isUsed = (node.hosting.stage?.sessions ?? 0) > 0
    this.#deaths.push({ isUsed, listers })
    for (const age of AGES_SECONDS) {
      clock.after(age * 1000, () => {
        const living = listers.filter(({ host }) => host.isAlive)
        const still = living.filter(
          ({ participant }) => participant.swarm.directory.get(peerId) !== undefined
        )
        const key = `${isUsed ? 'used' : 'others'} ${age}`
        const { listed, of } = this.#stale.get(key) ?? { listed: 0, of: 0 }
        this.#stale.set(key, { listed: listed + still.length, of: of + living.length })
      })
    }
  }

  #sample(): void {
    const { clock, nodes } = this.#simulation
    this.#nodeSeconds += (nodes.size * SAMPLE_MS) / 1000
    const { covered, coveredByDemand, hosting } = this.#truth()
    this.#covered.push(covered)
    this.#coveredByDemand.push(coveredByDemand)
    this.#hosting.push(hosting)
    clock.after(SAMPLE_MS, () => this.#sample())
  }

  /** Of living nodes that are ready, whatever others believe. */
  #truth(): { covered: number; coveredByDemand: number; hosting: number } {
    const { nodes, models } = this.#simulation
    const holders = new Map(
      models.map(({ hostable }) => [hostable.model, new Uint8Array(hostable.blockCount)])
    )
    let hosting = 0
    for (const { hosting: hosts } of nodes.values()) {
      if (hosts.stage?.isOpen !== true) continue
      const { model, start, end } = hosts.stage.info
      hosting += 1
      holders.get(model)?.fill(1, start, end)
    }
    const isCovered = models.map(
      ({ hostable }) => holders.get(hostable.model)?.every((held) => held > 0) === true
    )
    const byDemand = isCovered.map((is, rank) => (is ? this.#popularity.shareOf(rank) : 0))
    return {
      covered: isCovered.filter(Boolean).length / isCovered.length,
      coveredByDemand: sum(byDemand),
      hosting: hosting / nodes.size
    }
  }

  /** For whoever watches. */
  line(): string {
    const { nodes, sessions, network } = this.#simulation
    const { covered, coveredByDemand, hosting } = this.#truth()
    const heap = Math.round(process.memoryUsage().heapUsed / 1e6)
    const announced = network.kinds.counts.get('announcement: published')?.count ?? 0
    return (
      `${nodes.size} here, ${percent(hosting)} host, covered ${percent(covered)} (${percent(coveredByDemand)} by demand), ` +
      `${sessions.active} sessions, ${announced} announced, ${heap} MB`
    )
  }

  async end(): Promise<Outcome> {
    const { clock, network, nodes, models } = this.#simulation
    const ms = clock.now() - this.#beganAt
    const cpu = cpuMs() - this.#cpuAt
    const seconds = ms / 1000
    const stayed = this.#nodes.filter(({ host }) => host.isAlive)
    const perSecond = (count: (node: SimNode) => number): Spread =>
      spread(stayed.map((node) => count(node) / seconds))
    const of = (outcome: RequestResult['outcome']): number =>
      share(this.#requests, (result) => result.outcome === outcome)
    const routed = this.#requests.filter(({ outcome }) => outcome !== 'no chain')
    const memory = sum([...nodes.values()].map(({ memoryBytes }) => memoryBytes))
    const needed = sum(
      models.map(
        ({ hostable: { blockBytes, positionBytes, positions, embeddingBytes, headBytes } }) =>
          sum(blockBytes) + positions * sum(positionBytes) + embeddingBytes + headBytes
      )
    )
    this.#listDead()
    const kinds = Object.fromEntries(
      [...network.kinds.counts].map(([kind, { count }]) => [kind, count / seconds / nodes.size])
    )
    return {
      nodes: nodes.size,
      minutes: ms / 60_000,
      memory: memory / needed,
      covered: mean(this.#covered),
      coveredByDemand: mean(this.#coveredByDemand),
      movesPerNodeHour: (3600 * this.#moves) / this.#nodeSeconds,
      firstLoadsPerNodeHour: (3600 * this.#firstLoads) / this.#nodeSeconds,
      hosting: mean(this.#hosting),
      requests: this.#requests.length,
      atOnce: of('at once'),
      afterWaiting: of('after waiting'),
      noChain: of('no chain'),
      notOpened: of('not opened'),
      deadChains: share(routed, ({ deadHops }) => deadHops > 0),
      movedChains: share(routed, ({ movedHops }) => movedHops > 0),
      fullChains: share(routed, ({ fullHops }) => fullHops > 0),
      hops: mean(routed.map(({ hops }) => hops)),
      losses: this.#losses.length,
      mended: share(this.#losses, (isMended) => isMended),
      messages: perSecond(({ host: { counts } }) => counts.heard + counts.repeated + counts.asked / 2),
      gossip: perSecond(({ host: { counts } }) => counts.heard),
      repeated: perSecond(({ host: { counts } }) => counts.repeated),
      kilobytesIn: perSecond(({ host: { counts } }) => counts.bytesIn / 1000),
      kilobytesOut: perSecond(({ host: { counts } }) => counts.bytesOut / 1000),
      connections: spread(stayed.map(({ host }) => host.links.size)),
      followed: spread(stayed.map(({ participant }) => participant.swarm.followed.length)),
      listed: spread(stayed.map(({ participant }) => participant.swarm.directory.size)),
      deadListed: mean(this.#deadListed),
      staleUsed: this.#staleOf('used'),
      staleOthers: this.#staleOf('others'),
      deaths: {
        used: this.#deaths.filter(({ isUsed }) => isUsed).length,
        others: this.#deaths.filter(({ isUsed }) => !isUsed).length
      },
      routeMs: spread(routed.filter(({ wasFollowed }) => wasFollowed).map(({ routingMs }) => routingMs)),
      routeNewMs: spread(routed.filter(({ wasFollowed }) => !wasFollowed).map(({ routingMs }) => routingMs)),
      reach: (kinds['announcement: reached'] ?? 0) / (kinds['announcement: followers'] ?? 1),
      kinds,
      statuses: this.#statuses(),
      cpuMsPerNodeSecond: cpu / seconds / nodes.size,
      heapMegabytes: process.memoryUsage().heapUsed / 1e6,
      routeCpuMs: spread(await this.#timeRoutes())
    }
  }

  #listDead(): void {
    const { nodes, network } = this.#simulation
    for (const { participant } of [...nodes.values()].slice(0, 1_000)) {
      const listed = participant.swarm.directory.nodes
      this.#deadListed.push(share(listed, ({ peer }) => network.hosts.get(peer)?.isAlive !== true))
    }
  }

  #staleOf(kind: string): Record<string, number> {
    return Object.fromEntries(
      AGES_SECONDS.flatMap((age) => {
        const { listed, of } = this.#stale.get(`${kind} ${age}`) ?? { listed: 0, of: 0 }
        return of === 0 ? [] : [[age, listed / of]]
      })
    )
  }

  /** What nodes say of what they do, without names and numbers. */
  #statuses(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { contributor } of this.#simulation.nodes.values()) {
      const status = contributor.status.replace(/\d[\d.]*B number \d+|\d[\d.-]*/g, '#').slice(0, 80)
      counts[status] = (counts[status] ?? 0) + 1
    }
    return counts
  }

  /** The swarm stands still, and load questions are answered at once: what is left is the router's own work. */
  async #timeRoutes(): Promise<number[]> {
    const { network, nodes, models, popularity } = this.#simulation
    network.isInstant = true
    const all = [...nodes.values()]
    const { signal } = new AbortController()
    const times: number[] = []
    for (let tries = 0; times.length < WARM_UP + TIMED && tries < 50 * TIMED; tries++) {
      const model = models[popularity.draw(network.random)]?.hostable.model as string
      const consumer = all[Math.floor(network.random() * all.length)] as SimNode
      const { participant } = consumer
      if (!participant.swarm.followed.includes(model) || !participant.isCovered(model)) continue
      const before = performance.now() // processor time is counted in steps of 4 ms
      const request = { model, promptTokens: 300, answerTokens: 200, waitMs: 0, signal }
      const routed = participant.route(request).catch(() => undefined)
      // Who finds no chain asks others, and waits for a clock that stands still.
      const found = await Promise.race([routed, nextTurn()])
      if (found !== undefined) times.push(performance.now() - before)
    }
    return times.slice(WARM_UP)
  }
}

/** Of the process: all that needs no clock has been done by then. */
async function nextTurn(): Promise<undefined> {
  await new Promise(setImmediate)
  return undefined
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  return {
    median: median(values),
    p99: sorted[Math.floor(0.99 * sorted.length)] ?? Number.NaN,
    mean: mean(values)
  }
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : sum(values) / values.length
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function share<T>(values: readonly T[], is: (value: T) => boolean): number {
  return values.length === 0 ? 0 : values.filter(is).length / values.length
}

function percent(part: number): string {
  return `${Math.round(1000 * part) / 10} %`
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
