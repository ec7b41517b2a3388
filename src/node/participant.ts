/** A node's part in a swarm: it joins, hears who hosts what, measures how far they are, and finds chains. */
import { type Clock, Limits, ShoalError, type Startable } from '../common/index.ts'
import type {
  HostLogger,
  PeerAddress,
  SessionHost,
  StageLoad,
  SwarmAnswer,
  SwarmHost,
  SwarmRequest
} from '../net/index.ts'
import {
  type ChainHop,
  type Content,
  Latencies,
  NoChainError,
  type Place,
  type Route,
  Router,
  Swarm,
  type SwarmComponents,
  within
} from '../swarm/index.ts'
import { Joiner, type JoinerComponents } from './join.ts'
import { Membership, type MembershipComponents } from './membership.ts'
import type { Neighbours } from './neighbours.ts'
import type { JoinStep, ModelStatus } from './status.ts'
import type { SwarmFile } from './swarm-file.ts'

/** To reach a node and to be answered. */
const PROBE_MS = 10_000
/** Where nobody hosts what is asked for, it is looked for again at least this often. */
const LOOK_AGAIN_MS = 5_000

/** Those who saw a node's connections end don't all tell it at once, and mostly one of them does. */
const WITNESS_MS = 2_000
/**
 * Nodes whose connection ended that are asked whether they live. A node with all the connections that it takes ends its
 * oldest ones: if everybody came back to ask, each would push out another one, who comes back, and so on.
 */
const ENDED = { burst: 8, everyMs: 30_000 }

export interface ParticipantComponents {
  readonly host: SwarmComponents['network'] &
    JoinerComponents['host'] &
    MembershipComponents['host'] &
    Pick<SessionHost, 'onDisconnect'> &
    Pick<SwarmHost, 'provide'>
  readonly clock: Clock
  readonly random: () => number
  readonly neighbours?: Neighbours | undefined
  /** See Swarm: a simulation opens each message once for all of its nodes. */
  readonly opener?: SwarmComponents['opener']
}

export interface ParticipantInit {
  readonly joined: SwarmFile
  /** Multiaddrs to begin with. */
  readonly addresses: readonly string[]
  /** Where peers are remembered, and a founder's admissions. */
  readonly folder: string
  /** Somebody who only asks: is not remembered, and remembers nobody. */
  readonly isPassing: boolean
  /** The host has mDNS and Kademlia. Default: once something has been joined. */
  readonly looksAround?: boolean
  readonly load: (model: string) => StageLoad[]
  readonly assign?:
    | ((request: {
        model: string
        start: number
        end: number
      }) => Promise<{ accepted: boolean; message: string }>)
    | undefined
  /** Models that the node has pieces of for others. */
  readonly seeds?: (() => readonly string[]) | undefined
  readonly onUnreachable?: ((address: string, error: Error) => void) | undefined
  readonly logger?: HostLogger | undefined
}

export interface WayRequest {
  readonly model: string
  readonly promptTokens: number
  readonly answerTokens: number
  /** The conversation's chain until now. */
  readonly prefer?: readonly ChainHop[]
  /** How long to wait where there is no chain yet. */
  readonly waitMs: number
  readonly onMissing?: (error: NoChainError) => void
  readonly signal: AbortSignal
}

export class Participant implements Startable {
  readonly swarm: Swarm
  readonly #components: ParticipantComponents
  readonly #latencies: Latencies
  readonly #router: Router
  readonly #joiner: Joiner
  readonly #membership: Membership | undefined
  readonly #wanted = new Map<string, number>()
  readonly #followed = new Set<string>()
  readonly #seeds: () => readonly string[]
  /** Of all together. */
  readonly #ended: Limits
  #content: Omit<Content, 'wants'> = { stages: [] }
  #joined: Promise<void> | undefined
  #stopMeasuring: (() => void) | undefined
  #stopWatching: (() => void) | undefined
  #isStopped = false

  constructor(components: ParticipantComponents, init: ParticipantInit) {
    const { host, clock, random, neighbours, opener } = components
    const { joined, folder, logger } = init
    this.#components = components
    this.#ended = new Limits(clock, ENDED)
    this.#seeds = init.seeds ?? (() => [])
    this.#membership =
      joined.kind === 'private' ? new Membership({ host, clock }, { swarm: joined, folder }) : undefined
    this.#latencies = new Latencies(
      { clock, random },
      { self: host.peerId, coordinateOf: (peer) => this.swarm.directory.announcementOf(peer)?.coordinate }
    )
    this.swarm = new Swarm(
      { network: host, clock, random, opener },
      {
        coordinate: () => this.#latencies.here.coordinate,
        certificate: this.#membership?.certificate,
        admits:
          this.#membership === undefined
            ? undefined
            : (announcement) => this.#membership?.admits(announcement) ?? false,
        ...{ load: init.load, assign: init.assign, logger }
      }
    )
    this.#router = new Router({
      ...{ clock, random, latency: this.#latencies },
      stages: (model) => this.swarm.stagesOf(model),
      ask: (peer, addresses, request, signal) => host.ask(peer, [...addresses], request, signal)
    })
    const { isPassing, looksAround = joined.kind !== 'local' } = init
    const invited = joined.kind === 'private' ? joined.addresses : []
    this.#joiner = new Joiner(
      { host, swarm: this.swarm, neighbours, clock, random },
      {
        addresses: [...init.addresses, ...invited],
        ...{ mdns: looksAround, kademlia: looksAround },
        folder: isPassing ? undefined : folder,
        models: () => this.swarm.followed,
        hosted: () => [...new Set([...this.#content.stages.map(({ model }) => model), ...this.#seeds()])],
        onUnreachable: init.onUnreachable
      }
    )
  }

  /** To be called when the host has started. Joining goes on after it has resolved. */
  async start(): Promise<void> {
    await this.#membership?.start()
    await this.swarm.start()
    this.#stopWatching = this.#components.host.onDisconnect((peer) => this.#disconnected(peer))
    this.#joined = this.#joiner.start()
    this.#measureLater()
  }

  /** Every node has neighbours, who see its end before anybody misses it; one of them tells the others. */
  #disconnected(peer: string): void {
    const { clock, random, host } = this.#components
    if (this.swarm.directory.announcementOf(peer) === undefined) return
    clock.after(WITNESS_MS * random(), () => {
      if (!this.#isStopped && !host.peers.includes(peer) && this.#ended.take('')) this.lost(peer)
    })
  }

  /** To be called before the host stops. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#stopMeasuring?.()
    this.#stopWatching?.()
    await this.#joiner.stop()
    await this.swarm.stop()
    await this.#membership?.stop()
  }

  /** Resolves when all ways to find others have been tried once. */
  get joined(): Promise<void> {
    return this.#joined ?? Promise.resolve()
  }

  get steps(): JoinStep[] {
    return this.#joiner.steps
  }

  async answer(peer: string, request: SwarmRequest): Promise<SwarmAnswer> {
    const serve = (asker: string, asked: SwarmRequest) => this.swarm.answer(asker, asked)
    if (peer === this.#components.host.peerId) return serve(peer, request)
    return this.#membership?.answer(peer, request, serve) ?? serve(peer, request)
  }

  /** Whether a peer may open sessions here. */
  async mayConsume(peer: string): Promise<boolean> {
    if (peer === this.#components.host.peerId) return true
    return this.#membership?.allows(peer, 'consumer') ?? true
  }

  /** What this node hosts, and could host, from now on. */
  announce(content: Omit<Content, 'wants'>): void {
    this.#content = content
    this.#announce()
  }

  /** What the node has pieces of is another set of models now. */
  seedsChanged(): void {
    this.#announce()
  }

  /** Nodes that may have pieces of the model, as far as is known; look again while it is followed. */
  suppliersOf(model: string): PeerAddress[] {
    const { directory } = this.swarm
    const hosts = directory
      .stagesOf(model)
      .map(({ peer, addresses }) => ({ peer, addresses: [...addresses] }))
    const seeders = directory.seedersOf(model).map(({ peer, addresses }) => ({ peer, addresses }))
    return [...new Map([...hosts, ...seeders].map((supplier) => [supplier.peer, supplier])).values()]
  }

  #announce(): void {
    const seeds = this.#seeds()
    this.swarm.announce({ ...this.#content, wants: [...this.#wanted.keys()], seeds })
  }

  /**
   * The chain to ask, and spares. Where there is none, everybody learns that it is wanted, and it is waited for.
   * Throws a NoChainError, a ShoalError NO_PEERS as soon as there is nobody at all, or the signal's reason.
   */
  async route(request: WayRequest): Promise<Route> {
    const { model, waitMs, signal, onMissing } = request
    const { clock } = this.#components
    this.follow(model)
    const deadline = clock.now() + waitMs
    let isWanted = false
    let hasLookedEverywhere = false
    // Peers that were asked before the model was followed have said nothing of it.
    let hasRefreshed = false
    void this.joined.then(() => {
      hasLookedEverywhere = true
    })
    try {
      for (;;) {
        signal.throwIfAborted()
        const leftMs = deadline - clock.now()
        const change = this.#change(leftMs > 0 ? Math.min(leftMs, LOOK_AGAIN_MS) : LOOK_AGAIN_MS, signal)
        try {
          return await this.#router.route(request)
        } catch (error) {
          if (!(error instanceof NoChainError)) throw error
          if (hasRefreshed) {
            if (this.#components.host.peers.length === 0) throw nobody()
            onMissing?.(error)
            if (clock.now() >= deadline) throw error
            if (!isWanted) this.#want(model, 1)
            isWanted = true
          }
          if (hasRefreshed) await change.promise
          else if (!hasLookedEverywhere) await Promise.race([change.promise, this.joined])
        } finally {
          change.forget()
        }
        if (!hasLookedEverywhere) continue
        await this.swarm.refresh(signal).catch(() => {})
        hasRefreshed = true
      }
    } finally {
      if (isWanted) this.#want(model, -1)
    }
  }

  /** For as long as the node runs: the next question is likely for the same model. */
  follow(model: string): void {
    if (this.#followed.has(model)) return
    this.#followed.add(model)
    if (!this.swarm.followed.includes(model)) void this.#joiner.find(model)
    this.swarm.follow(model)
  }

  #want(model: string, change: number): void {
    const count = (this.#wanted.get(model) ?? 0) + change
    if (count > 0) this.#wanted.set(model, count)
    else this.#wanted.delete(model)
    this.#announce()
  }

  /** Resolves when somebody says something new, after a while, or when the signal fires; to be forgotten in any case. */
  #change(ms: number, signal: AbortSignal): { readonly promise: Promise<void>; readonly forget: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>()
    const changed = (): void => resolve()
    const stopListening = this.swarm.directory.onChange(changed)
    const cancel = this.#components.clock.after(ms, changed)
    signal.addEventListener('abort', changed)
    const forget = (): void => {
      stopListening()
      cancel()
      signal.removeEventListener('abort', changed)
    }
    return { promise, forget }
  }

  /** A hop of a session has gone. */
  lost(peer: string): void {
    void this.swarm.report(peer).catch(() => {})
  }

  /** Sessions per minute, those included that wait for it. */
  demandOf(model: string): number {
    return this.swarm.summaries.of(model)?.demand ?? this.swarm.directory.waitingFor(model)
  }

  /** Every block is hosted, as far as is known. */
  isCovered(model: string): boolean {
    return this.swarm.summaries.of(model)?.holders.every((count) => count > 0) === true
  }

  /** All that is known: of models that are followed, and of those that others speak of. */
  get models(): ModelStatus[] {
    const { summaries, directory } = this.swarm
    const all = new Set([...this.swarm.followed, ...directory.models, ...summaries.models])
    return [...all].flatMap((model) => {
      const facts = summaries.of(model)
      if (facts === undefined) return []
      const { name, blockCount, nodes, demand, holders } = facts
      return [
        { model, name, blockCount, nodes, demand, covered: this.isCovered(model), missing: gapsOf(holders) }
      ]
    })
  }

  #measureLater(): void {
    this.#stopMeasuring = this.#components.clock.after(this.#latencies.probeAfterMs, () => {
      void this.#measure().finally(() => {
        if (!this.#isStopped) this.#measureLater()
      })
    })
  }

  /** How far one of the known nodes is, at random. */
  async #measure(): Promise<void> {
    const { host, clock, random } = this.#components
    const nodes = this.swarm.directory.nodes
    const node = nodes[Math.floor(random() * nodes.length)]
    if (node === undefined) return
    try {
      await within(clock, PROBE_MS, async (signal) => {
        const answer = await host.ask(node.peer, [...node.addresses], { type: 'probe' }, signal)
        const rttMs = await host.ping(node.peer, signal)
        if (answer.type === 'probe') this.#latencies.measured(node.peer, rttMs, answer.coordinate)
      })
    } catch {
      // It is not reached: whoever uses it will say so.
    }
  }

  /** From here, in milliseconds; undefined where nobody has measured enough to tell. */
  rttTo(peer: string): number | undefined {
    return this.#latencies.to({ peer, coordinate: this.swarm.directory.announcementOf(peer)?.coordinate })
  }

  /** Predicted or measured, between two peers, in milliseconds. */
  rttBetween(a: string, b: string): number {
    const { here } = this.#latencies
    const placeOf = (peer: string): Place =>
      peer === here.peer ? here : { peer, coordinate: this.swarm.directory.announcementOf(peer)?.coordinate }
    return this.#latencies.predict(placeOf(a), placeOf(b))
  }
}

function nobody(): ShoalError {
  const advice = 'Start a node with "shoal up", or name one with --peer ADDRESS. "shoal doctor" says more.'
  return new ShoalError('NO_PEERS', `No other node answers, so that nobody can be asked. ${advice}`)
}

/** Blocks that nobody holds, as [start, end). */
function gapsOf(holders: ArrayLike<number>): [number, number][] {
  const gaps: [number, number][] = []
  for (let block = 0; block < holders.length; block++) {
    if (holders[block] !== 0) continue
    const last = gaps.at(-1)
    if (last !== undefined && last[1] === block) last[1] = block + 1
    else gaps.push([block, block + 1])
  }
  return gaps
}
