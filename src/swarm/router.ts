/**
 * Chooses chains so that a session waits the least, and so that many consumers don't all choose the same one: the
 * cheapest few chains are asked for their load, and one of those that are nearly as good as the best is drawn.
 */
import type { Clock } from '../common/index.ts'
import type { StageInfo } from '../net/index.ts'
import type { HostedStage } from './discover.ts'
import type { Latencies } from './latency.ts'
import { type Ask, Loads } from './router-loads.ts'
import { cheapestChain, findChain, findCover, profileKey, shortlist } from './routing.ts'
import { type Busyness, type ChainHop, type Costs, costOf, type Demand } from './routing-cost.ts'
import type { Path } from './routing-search.ts'

/** Chains that are looked at in each round; their stages are asked for their load. */
const ALTERNATIVES = 5
/** Rounds of questions, where all that were asked are full. */
const ROUNDS = 3
/** Chains that cost so much more than the best are as good: no prediction is more exact. */
const TOLERANCE = 0.15
/** Part of a hop's share of the best chain that a stage costs extra, for each chain that has it already. */
const REPEAT = 0.5
/** Stages are waited for so long, and two predicted round trips: who answers later would compute later, too. */
const DEADLINE_MS = 300
const LONGEST_DEADLINE_MS = 2_000
/** More places than these don't attract more sessions. */
const MANY_PLACES = 8

export interface RouterComponents {
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly latency: Pick<Latencies, 'from' | 'here'>
  /** Who hosts blocks of a model, as known now. */
  readonly stages: (model: string) => readonly HostedStage[]
  readonly ask: Ask
}

export interface RouteRequest extends Demand {
  readonly model: string
  /** The conversation's chain until now, which has its prompt in its caches. */
  readonly prefer?: readonly ChainHop[]
  /** Peers not to use. */
  readonly avoid?: ReadonlySet<string>
  readonly signal?: AbortSignal
}

export interface Route {
  readonly chain: readonly ChainHop[]
  /** Milliseconds that the session is expected to take. */
  readonly costMs: number
  /** For each hop the best others that could take over its blocks; empty where there are none. */
  readonly spares: readonly (readonly ChainHop[])[]
}

export class Router {
  readonly #components: RouterComponents
  readonly #loads: Loads

  constructor(components: RouterComponents) {
    this.#components = components
    this.#loads = new Loads(components)
  }

  /** Throws a NoChainError, or the signal's reason. */
  async route(request: RouteRequest): Promise<Route> {
    const { model, avoid, prefer = [], signal } = request
    signal?.throwIfAborted()
    const { latency, stages } = this.#components
    const known = stages(model).filter(({ peer, stage }) => !avoid?.has(peer) && stage.state === undefined)
    const costs: Costs = {
      ...{ promptTokens: request.promptTokens, answerTokens: request.answerTokens },
      ...{ consumer: latency.here, rttFrom: (place) => latency.from(place) },
      busynessOf: (hop) => this.#busynessOf(hop)
    }
    const kept = stillThere(prefer, known)
    const [best] = await Promise.all([this.#choose(known, request, costs), this.#askLoads(kept, costs)])
    const stay = this.#stay(kept, costs)
    const { chain, costMs } = stay !== undefined && stay.costMs <= best.costMs ? stay : best
    for (const hop of chain) this.#loads.take(hop)
    return { chain, costMs, spares: this.#sparesOf(chain, known, request, costs) }
  }

  async #choose(known: readonly HostedStage[], request: RouteRequest, costs: Costs): Promise<Path> {
    const { model, signal } = request
    for (let round = 0; round < ROUNDS; round++) {
      const open = known.filter((hop) => this.#placesAt(hop, request) > 0)
      const asked = this.#alternatives(open, model, costs).flatMap(({ chain }) => chain)
      if (asked.length === 0) break
      await this.#askLoads(asked, costs)
      signal?.throwIfAborted()
      const stages = new Set(asked.map(({ stage }) => stage))
      const free = open.filter((hop) => stages.has(hop.stage) && this.#placesAt(hop, request) > 0)
      const paths = this.#alternatives(free, model, costs)
      if (paths.length > 0) return this.#draw(paths, request)
    }
    const there = known.filter((hop) => this.#loads.of(hop) !== 'gone')
    const chain = findChain(there, model, costs)
    return { chain, costMs: costOf(chain, costs) }
  }

  /**
   * Chains that are hardly worse than the cheapest, and differ, also from what other consumers find who know the same;
   * empty where there is no chain.
   */
  #alternatives(stages: readonly HostedStage[], model: string, costs: Costs): Path[] {
    const { random } = this.#components
    const few = shortlist(stages, model, costs)
    const best = cheapestChain(few, model, costs)
    if (typeof best === 'number') return []
    const share = best.costMs / best.chain.length
    const uses = new Map<StageInfo, number>()
    const extraOf = ({ stage }: HostedStage): number =>
      share * (REPEAT * (uses.get(stage) ?? 0) + TOLERANCE * random())
    const paths = new Map<string, Path>()
    for (let time = 0; time < ALTERNATIVES; time++) {
      const { chain } = cheapestChain(few, model, { ...costs, extraOf }) as Path
      paths.set(nameOf(chain), { chain, costMs: costOf(chain, costs) })
      for (const { stage } of chain) uses.set(stage, (uses.get(stage) ?? 0) + 1)
    }
    return [...paths.values()]
  }

  /** The nearer to the best, and the more free places at its fullest stage, the likelier. */
  #draw(paths: readonly Path[], demand: Demand): Path {
    const limit = Math.min(...paths.map(({ costMs }) => costMs)) * (1 + TOLERANCE)
    const weights = paths.map(({ chain, costMs }) => {
      const places = Math.min(...chain.map((hop) => this.#placesAt(hop, demand)))
      return Math.max(0, limit - costMs) * places
    })
    let left = this.#components.random() * weights.reduce((sum, weight) => sum + weight, 0)
    const index = weights.findIndex((weight) => {
      left -= weight
      return left < 0
    })
    return paths[Math.max(0, index)] as Path
  }

  /** Sessions that a stage has room for, as far as is known: none when it is full. */
  #placesAt(hop: HostedStage, { promptTokens, answerTokens }: Demand): number {
    const load = this.#loads.of(hop)
    if (load === 'gone' || hop.stage.context < promptTokens + answerTokens) return 0
    if (load === 'silent' || load === 'unknown') return 1
    return load.freePositions < promptTokens ? 0 : Math.min(load.freeSessions, MANY_PLACES)
  }

  #busynessOf(hop: HostedStage): Busyness | undefined {
    const load = this.#loads.of(hop)
    if (load === 'silent') return { waitMs: DEADLINE_MS }
    if (load === 'gone' || load === 'unknown') return undefined
    return { waitMs: load.waitMicroseconds / 1000, stepMs: load.stepMicroseconds / 1000 }
  }

  async #askLoads(hops: readonly HostedStage[], costs: Costs): Promise<void> {
    if (hops.length === 0) return
    const longest = Math.max(...hops.map(costs.rttFrom(costs.consumer)))
    await this.#loads.ask(hops, Math.min(LONGEST_DEADLINE_MS, Math.max(DEADLINE_MS, 2 * longest)))
  }

  /** The chain that a conversation has: nothing of the prompt is left to compute there. */
  #stay(kept: readonly ChainHop[], costs: Costs): Path | undefined {
    if (kept.length === 0 || kept.some((hop) => this.#loads.of(hop) === 'gone')) return undefined
    return { chain: [...kept], costMs: costOf(kept, { ...costs, promptTokens: 0 }) }
  }

  #sparesOf(
    chain: readonly ChainHop[],
    known: readonly HostedStage[],
    demand: Demand,
    costs: Costs
  ): ChainHop[][] {
    const key = ({ stage }: HostedStage): string => `${stage.blockCount} ${profileKey(stage.profile)}`
    const like = key(chain[0] as ChainHop)
    const fits = known.filter((hop) => key(hop) === like && this.#placesAt(hop, demand) > 0)
    return chain.map((hop, index) => {
      const others = fits.filter(({ peer }) => peer !== hop.peer)
      const before = chain[index - 1] ?? costs.consumer
      const after = chain[index + 1] ?? costs.consumer
      return findCover(others, hop, costs, { before, after }) ?? []
    })
  }
}

/** The chain as far as it is known today, with today's addresses; empty when some of it is not there. */
function stillThere(chain: readonly ChainHop[], known: readonly HostedStage[]): ChainHop[] {
  const found = chain.flatMap(({ peer, stage, start, end }) => {
    const hop = known.find(
      (other) =>
        other.peer === peer &&
        other.stage.start === stage.start &&
        other.stage.end === stage.end &&
        profileKey(other.stage.profile) === profileKey(stage.profile)
    )
    return hop === undefined ? [] : [{ ...hop, start, end }]
  })
  return found.length === chain.length ? found : []
}

function nameOf(chain: readonly ChainHop[]): string {
  return chain.map(({ peer, start }) => `${peer} ${start}`).join()
}
