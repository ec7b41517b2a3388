/** People who ask: each request is routed by the real router, and takes places at the chain's stages for as long as it runs. */
import { type ChainHop, NoChainError, type Route } from '../../src/swarm/index.ts'
import { gaussian, type Random } from '../../test/models/random.ts'
import type { SimHost } from './host.ts'
import type { SimNetwork } from './network.ts'
import type { SimNode } from './node.ts'
import type { Guest, SimStage } from './stage.ts'

/** `shoal run --wait`. */
const WAIT_MS = 60_000
/** Opening is given up for a hop that neither answers nor refuses: as in connecting. */
const OPEN_MS = 10_000
/** From a hop's death to its consumer's knowing of it, where connections break or where there is silence. */
const NOTICE_MS = { refuses: 100, silent: 2_000 }
const ATTEMPTS = 4
/** A stage keeps the session of a consumer that is gone for so long. */
const ORPHANED_MS = 30_000
/** Lognormal. */
const PROMPT = { median: 300, deviation: 0.8, most: 2_000 }
const ANSWER = { median: 200, deviation: 0.6, most: 800 }

export interface RequestResult {
  readonly model: string
  /** Of simulated time, until a chain was chosen. */
  readonly routingMs: number
  /** The consumer heard of the model's nodes already. */
  readonly wasFollowed: boolean
  readonly outcome: 'at once' | 'after waiting' | 'no chain' | 'not opened'
  /** Of the first chain that was chosen. */
  readonly hops: number
  readonly deadHops: number
  readonly movedHops: number
  readonly fullHops: number
}

export interface SessionsComponents {
  readonly network: SimNetwork
  readonly random: Random
  readonly nodeOf: (peer: string) => SimNode | undefined
  readonly onRequest: (result: RequestResult) => void
  /** In the middle of a session a hop was lost; it goes on elsewhere, or it doesn't. */
  readonly onLost: (isMended: boolean) => void
}

export class Sessions {
  readonly #components: SessionsComponents
  active = 0

  constructor(components: SessionsComponents) {
    this.#components = components
  }

  async ask(consumer: SimNode, model: string): Promise<void> {
    const { network, random, onRequest } = this.#components
    const { clock } = network
    const startedAt = clock.now()
    const [promptTokens, answerTokens] = [draw(PROMPT, random), draw(ANSWER, random)]
    const wasFollowed = consumer.participant.swarm.followed.includes(model)
    let isWaiting = false
    const request: Demand = { model, promptTokens, answerTokens }
    const onMissing = (): void => {
      isWaiting = true
    }
    const route = await routeFor(consumer, request, onMissing)
    const result = { model, wasFollowed, routingMs: clock.now() - startedAt }
    if (!consumer.host.isAlive) return
    if (route === undefined) {
      return onRequest({ ...result, outcome: 'no chain', hops: 0, deadHops: 0, movedHops: 0, fullHops: 0 })
    }
    const session = new Session(this, this.#components, consumer, request)
    const first = await session.open(route)
    onRequest({
      ...{ ...result, ...first, hops: route.chain.length },
      outcome: !session.isOpen ? 'not opened' : isWaiting ? 'after waiting' : 'at once'
    })
  }
}

export interface Demand {
  readonly model: string
  readonly promptTokens: number
  readonly answerTokens: number
}

async function routeFor(
  consumer: SimNode,
  request: Demand,
  onMissing = () => {}
): Promise<Route | undefined> {
  const { signal } = new AbortController()
  return await consumer.participant
    .route({ ...request, waitMs: WAIT_MS, onMissing, signal })
    .catch((error: unknown) => {
      if (error instanceof NoChainError || (error as { code?: string }).code === 'NO_PEERS') return undefined
      throw error
    })
}

interface Faults {
  readonly deadHops: number
  readonly movedHops: number
  readonly fullHops: number
}

/** A hop of a session that has its place. */
interface Taken {
  readonly hop: ChainHop
  readonly stage: SimStage
  readonly spares: readonly ChainHop[]
}

class Session implements Guest {
  readonly positions: number
  isOpen = false
  readonly #sessions: Sessions
  readonly #components: SessionsComponents
  readonly #consumer: SimNode
  readonly #request: Demand
  #taken: Taken[] = []

  constructor(sessions: Sessions, components: SessionsComponents, consumer: SimNode, request: Demand) {
    this.#sessions = sessions
    this.#components = components
    this.#consumer = consumer
    this.#request = request
    this.positions = request.promptTokens + request.answerTokens
  }

  /** What was wrong with the first choice; where something is, spares and other routes are tried. */
  async open(route: Route): Promise<Faults> {
    let next: Pick<Route, 'chain' | 'spares'> | undefined = route
    let first: Faults | undefined
    for (let attempt = 0; attempt < ATTEMPTS && next !== undefined; attempt++) {
      const { bad, ...faults } = await this.#take(next)
      first ??= faults
      if (bad.size === 0) {
        this.#opened()
        break
      }
      next =
        (attempt === 0 ? withSpares(route, bad) : undefined) ??
        (await routeFor(this.#consumer, this.#request))
    }
    return first as Faults
  }

  /** Places at all hops, or at none: then it says which were bad. */
  async #take({ chain, spares }: Pick<Route, 'chain' | 'spares'>): Promise<Faults & { bad: Set<number> }> {
    const { network } = this.#components
    const { host } = this.#consumer
    const faults = { deadHops: 0, movedHops: 0, fullHops: 0, bad: new Set<number>() }
    const waits = chain.map(({ peer }) => {
      const other = this.#hostOf(peer)
      if (!other.isAlive && other.death === 'silent') return OPEN_MS
      return (host.links.has(other) ? 1 : 5) * network.usualMs(host, other)
    })
    await this.#wait(Math.max(...waits))
    const taken: Taken[] = []
    for (const [index, hop] of chain.entries()) {
      const place = this.#placeAt(hop, spares[index])
      if (typeof place === 'object') taken.push(place)
      else {
        faults[place] += 1
        faults.bad.add(index)
      }
    }
    if (faults.bad.size > 0) for (const { stage } of taken) stage.release(this)
    else this.#taken = taken
    return faults
  }

  #placeAt(hop: ChainHop, spares: readonly ChainHop[] = []): Taken | keyof Faults {
    const { participant } = this.#consumer
    if (!this.#hostOf(hop.peer).isAlive) {
      participant.lost(hop.peer)
      return 'deadHops'
    }
    const stage = this.#components.nodeOf(hop.peer)?.hosting.stage
    if (stage === undefined || !isSame(stage, hop)) return 'movedHops'
    return stage.admit(this) ? { hop, stage, spares } : 'fullHops'
  }

  #opened(): void {
    const { clock } = this.#components.network
    this.isOpen = true
    this.#sessions.active += 1
    clock.after(this.#durationMs(), () => {
      if (this.#consumer.host.isAlive) this.#end()
      else clock.after(ORPHANED_MS, () => this.#end())
    })
  }

  /** With who is there now. */
  #durationMs(): number {
    const { network } = this.#components
    const { promptTokens, answerTokens } = this.#request
    const { host } = this.#consumer
    let from = host
    let roundMs = 0
    let prefillMs = 0
    for (const { hop, stage } of this.#taken) {
      const { info, stepMs } = stage
      const part = (hop.end - hop.start) / (info.end - info.start)
      const to = this.#hostOf(hop.peer)
      roundMs += network.usualMs(from, to) / 2 + stepMs * part
      prefillMs = Math.max(prefillMs, (promptTokens * part * (info.speed?.prefillMicroseconds ?? 0)) / 1000)
      from = to
    }
    return prefillMs + answerTokens * (roundMs + network.usualMs(from, host) / 2)
  }

  #end(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.#sessions.active -= 1
    this.#release()
  }

  #release(): void {
    for (const { stage } of this.#taken) stage.release(this)
    this.#taken = []
  }

  /** A hop moves, leaves or dies: what it computed is computed elsewhere. */
  lost(stage: SimStage): void {
    const gone = this.#taken.find((taken) => taken.stage === stage)
    if (this.isOpen && gone !== undefined && this.#consumer.host.isAlive) void this.#mend(gone)
  }

  async #mend(gone: Taken): Promise<void> {
    const { onLost } = this.#components
    const { peer } = gone.hop
    const other = this.#hostOf(peer)
    if (!other.isAlive) {
      await this.#wait(NOTICE_MS[other.death])
      this.#consumer.participant.lost(peer)
    }
    if (!this.isOpen || !this.#taken.includes(gone)) return
    gone.stage.release(this)
    this.#taken = this.#taken.filter((taken) => taken !== gone)
    const places = gone.spares.map((hop) => this.#placeAt(hop))
    const taken = places.filter((place) => typeof place === 'object')
    this.#taken.push(...taken)
    if (places.length > 0 && taken.length === places.length) return onLost(true)
    this.#release()
    const again = await routeFor(this.#consumer, this.#request)
    if (!this.isOpen) return
    const isMended = again !== undefined && (await this.#take(again)).bad.size === 0
    onLost(isMended)
    if (!isMended) this.#end()
    else if (!this.isOpen) this.#release()
  }

  #hostOf(peer: string): SimHost {
    return this.#components.network.hosts.get(peer) as SimHost
  }

  async #wait(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.#components.network.clock.after(ms, resolve))
  }
}

/** The chain with others for its bad hops, if there are any for each. */
function withSpares(
  { chain, spares }: Route,
  bad: ReadonlySet<number>
): Pick<Route, 'chain' | 'spares'> | undefined {
  const mended = chain.flatMap((hop, index) => (bad.has(index) ? (spares[index] ?? []) : [hop]))
  const hasAll = [...bad].every((index) => (spares[index] ?? []).length > 0)
  return hasAll ? { chain: mended, spares: [] } : undefined
}

function isSame({ info }: SimStage, { stage }: ChainHop): boolean {
  return info.model === stage.model && info.start === stage.start && info.end === stage.end
}

function draw({ median, deviation, most }: typeof PROMPT, random: Random): number {
  return Math.max(1, Math.min(most, Math.round(median * Math.exp(deviation * gaussian(random)))))
}
