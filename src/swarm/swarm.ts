/** A node's part in the swarm: it says what it hosts, hears what others do, and tells newcomers. */
import { type Clock, Limits, type Startable, systemClock } from '../common/index.ts'
import {
  type Coordinate,
  type Gossip,
  gossip,
  type HostLogger,
  type Sealed,
  type SessionHost,
  type StageLoad,
  type SwarmAnswer,
  type SwarmHost,
  type SwarmRequest,
  verify,
  type Withdrawal
} from '../net/index.ts'
import { type Admits, createOpener, type Opener, sealSummary, sealWithdrawal } from './announcement.ts'
import { Announcer, type Content, modelsOf } from './announcer.ts'
import { Directory } from './directory.ts'
import type { HostedStage } from './discover.ts'
import { Inquiry } from './inquiry.ts'
import { Intake } from './intake.ts'
import { DIRECTORIES } from './limits.ts'
import { factsOf, type ModelFacts, Summaries } from './summaries.ts'
import { Suspicion } from './suspicion.ts'

const SUMMARY_TOPIC = '/shoal/models/1'
/** A node that was alone says again that it is there: gossip needs a moment to find its neighbours. */
const AGAIN_MS = [1_000, 3_000, 9_000]

/** What a swarm needs of a host. */
export type SwarmNetwork = Pick<SessionHost, 'peerId' | 'addresses' | 'peers' | 'onDisconnect'> &
  Pick<SwarmHost, 'onConnect' | 'sign' | 'subscribe' | 'publish' | 'ask' | 'ping' | 'cut'>

export interface SwarmComponents {
  readonly network: SwarmNetwork
  readonly clock?: Clock | undefined
  readonly random?: (() => number) | undefined
  /** Default: one that checks signatures, and asks `admits`. */
  readonly opener?: Opener | undefined
}

type Request<T extends SwarmRequest['type']> = Extract<SwarmRequest, { type: T }>
type Reply<T extends SwarmAnswer['type']> = Omit<Extract<SwarmAnswer, { type: T }>, 'type'>

export interface SwarmInit {
  /** Where this node is, to be announced. */
  readonly coordinate?: (() => Coordinate | undefined) | undefined
  /** That this node may take part in a private swarm. */
  readonly certificate?: Uint8Array | undefined
  /** Private swarms: whether the author of an announcement may take part. Default: everybody. */
  readonly admits?: Admits | undefined
  /** How busy this node's stages of a model are. */
  readonly load?: ((model: string) => StageLoad[]) | undefined
  readonly assign?: ((request: Request<'assign'>, peer: string) => Promise<Reply<'assign'>>) | undefined
  readonly admit?: ((grant: Sealed, peer: string) => Promise<Reply<'admit'>>) | undefined
  readonly logger?: Pick<HostLogger, 'debug'> | undefined
}

/** A model whose announcements are heard, for as long as somebody here wants them. */
interface Followed {
  count: number
  /** What was known of it last. */
  facts: ModelFacts | undefined
  unsubscribe: () => void
}

export class Swarm implements Startable {
  readonly directory: Directory
  readonly summaries: Summaries
  readonly #network: SwarmNetwork
  readonly #clock: Clock
  readonly #init: SwarmInit
  readonly #announcer: Announcer
  readonly #suspicion: Suspicion
  readonly #intake: Intake
  readonly #inquiry: Inquiry
  readonly #directories: Limits
  readonly #followed = new Map<string, Followed>()
  /** Those that this node announces itself for. */
  readonly #own = new Map<string, () => void>()
  /** How to undo what `start` did. */
  #running: (() => void)[] | undefined
  #isAlone = true
  /** How to call off what is to be said again. */
  #said: (() => void)[] = []

  constructor(components: SwarmComponents, init: SwarmInit = {}) {
    const { network, clock = systemClock, random = Math.random } = components
    const opener = components.opener ?? createOpener(verify, init.admits)
    this.#network = network
    this.#clock = clock
    this.#init = init
    this.#directories = new Limits(clock, DIRECTORIES)
    this.directory = new Directory({ clock, random })
    this.summaries = new Summaries({
      ...{ clock, random },
      factsOf: (model) => this.#factsOf(model),
      publish: (facts) => this.#try(this.#summarize(facts))
    })
    this.#announcer = new Announcer(
      {
        ...{ clock, random, network },
        publish: ({ sealed }, models) => this.#publish({ type: 'announcement', ...sealed }, models),
        nodesOf: (model) => this.directory.hostsOf(model) + this.directory.waitingFor(model)
      },
      { coordinate: init.coordinate, certificate: init.certificate, onError: (error) => this.#debug(error) }
    )
    this.#suspicion = new Suspicion({
      ...{ clock, random, network, directory: this.directory },
      probe: (peer, signal) => this.#inquiry.probe(peer, signal),
      learn: (announced) => this.#intake.take(announced),
      spread: ({ sealed, hosts }) => this.#try(this.#publish({ type: 'announcement', ...sealed }, hosts)),
      withdraw: (withdrawal) => this.#try(this.#withdraw(withdrawal)),
      onAccused: (sequence) => this.#announcer.refute(sequence)
    })
    const { directory, summaries } = this
    this.#intake = new Intake({
      ...{ clock, network, opener, directory, summaries, suspicion: this.#suspicion },
      onOwn: (sequence) => this.#announcer.outdo(sequence)
    })
    this.#inquiry = new Inquiry({
      ...{ clock, random, network, directory, summaries, intake: this.#intake },
      announced: () => modelsOf(this.#announcer.content),
      onUnknown: () => this.#again(AGAIN_MS.slice(0, 1)),
      onError: (error) => this.#debug(error)
    })
  }

  /** To be called when the host has started. */
  async start(): Promise<void> {
    if (this.#running !== undefined) return
    this.#running = [
      this.#network.subscribe(SUMMARY_TOPIC, this.#intake.judge(undefined)),
      this.#network.onConnect(() => this.#connected()),
      this.#network.onDisconnect(() => this.#disconnected())
    ]
    for (const [model, followed] of this.#followed) this.#listen(model, followed)
    this.#announcer.start()
  }

  /** Says goodbye, for good. To be called before the host stops. */
  async stop(): Promise<void> {
    if (this.#running === undefined) return
    for (const undo of [...this.#running, ...this.#said]) undo()
    this.#running = undefined
    await this.#announcer.stop()
    for (const { unsubscribe } of this.#followed.values()) unsubscribe()
    this.#suspicion.stop()
    this.summaries.stop()
    this.directory.stop()
  }

  /** Hears who hosts the model, and tells others about it, until what it returns is called as often as this. */
  follow(model: string): () => void {
    const followed = this.#followed.get(model) ?? { count: 0, facts: undefined, unsubscribe: () => {} }
    followed.count += 1
    if (followed.count === 1) {
      this.#followed.set(model, followed)
      if (this.#running !== undefined) {
        this.#listen(model, followed)
        void this.#inquiry.askSome([model])
      }
    }
    let isFollowing = true
    return () => {
      if (!isFollowing) return
      isFollowing = false
      followed.count -= 1
      if (followed.count > 0) return
      this.#followed.delete(model)
      followed.unsubscribe()
    }
  }

  /** Models that are followed. */
  get followed(): string[] {
    return [...this.#followed.keys()]
  }

  /** What this node hosts and waits for, from now on. The same again is said when its addresses have changed. */
  announce(content: Content): void {
    const models = modelsOf(content)
    for (const model of models) if (!this.#own.has(model)) this.#own.set(model, this.follow(model))
    for (const [model, unfollow] of this.#own) {
      if (models.has(model)) continue
      unfollow()
      this.#own.delete(model)
    }
    this.#announcer.announce(content)
  }

  /** A node was lost while it was used here. If it is dead, all who follow its models forget it within seconds. */
  async report(peer: string): Promise<void> {
    if (peer !== this.#network.peerId) await this.#suspicion.report(peer)
  }

  /** Who hosts blocks of a model, this node included, as it announced it; also those who load them. */
  stagesOf(model: string): HostedStage[] {
    const { peerId: peer, addresses } = this.#network
    const own = this.#announcer.content.stages.filter((stage) => stage.model === model)
    const coordinate = this.#init.coordinate?.()
    return [
      ...this.directory.stagesOf(model),
      ...own.map((stage) => ({ peer, addresses, stage, coordinate }))
    ]
  }

  /** Of the models that are followed, of nodes that have loaded them. */
  get stages(): HostedStage[] {
    const all = [...this.#followed.keys()].flatMap((model) => this.stagesOf(model))
    return all.filter(({ stage }) => stage.state === undefined)
  }

  /** Asks some nodes what they know of the models that are followed. Throws the signal's reason; the round goes on. */
  refresh(signal?: AbortSignal): Promise<void> {
    return this.#inquiry.refresh([...this.#followed.keys()], signal)
  }

  /**
   * Gets a peer's directory: of these models, or all that it knows. Throws a `SwarmError`, the host's errors, or the
   * signal's reason.
   */
  learn(
    peer: string,
    addresses: readonly string[],
    models: readonly string[],
    signal?: AbortSignal
  ): Promise<void> {
    return this.#inquiry.learn(peer, addresses, models, signal)
  }

  /** What a peer asks of this node: for `Handlers.ask`. */
  async answer(peer: string, request: SwarmRequest): Promise<SwarmAnswer> {
    const { coordinate, load, assign, admit } = this.#init
    switch (request.type) {
      case 'directory':
        if (this.#directories.take(peer)) return this.#tell(request.models)
        return { type: 'refused', code: 'busy', message: 'too many requests: ask later' }
      case 'probe': {
        const announcement = (await this.#announcer.fresh())?.sealed
        return { type: 'probe', announcement, coordinate: coordinate?.() }
      }
      case 'load':
        if (load === undefined) break
        return { type: 'load', stages: load(request.model), coordinate: coordinate?.() }
      case 'assign':
        if (assign === undefined) break
        return { type: 'assign', ...(await assign(request, peer)) }
      case 'admit':
        if (admit === undefined) break
        return { type: 'admit', ...(await admit(request.grant, peer)) }
    }
    return { type: 'refused', code: 'unsupported', message: 'this node does not do that' }
  }

  async #tell(models: readonly string[]): Promise<SwarmAnswer> {
    const announcements = this.directory.answer(models, (peer) => this.#suspicion.isSuspected(peer))
    const own = await this.#announcer.fresh()
    if (own !== undefined && (models.length === 0 || models.some((model) => this.#own.has(model)))) {
      announcements.push({ sealed: own.sealed, ageSeconds: 0 })
    }
    return { type: 'directory', announcements, summaries: this.summaries.answer(models) }
  }

  #listen(model: string, followed: Followed): void {
    const unsubscribe = this.#network.subscribe(topicOf(model), this.#intake.judge(model))
    this.summaries.follow(model)
    followed.unsubscribe = () => {
      unsubscribe()
      this.summaries.unfollow(model)
    }
  }

  #connected(): void {
    if (this.#isAlone) this.#again(AGAIN_MS)
    this.#isAlone = false
  }

  #disconnected(): void {
    this.#isAlone = this.#network.peers.length === 0
  }

  #again(delays: readonly number[]): void {
    for (const cancel of this.#said) cancel()
    this.#said = delays.map((ms) => this.#clock.after(ms, () => this.#announcer.soon()))
  }

  #factsOf(model: string): ModelFacts | undefined {
    const { wants } = this.#announcer.content
    const waiting = this.directory.waitingFor(model) + (wants.includes(model) ? 1 : 0)
    const followed = this.#followed.get(model)
    const facts = factsOf(this.stagesOf(model), waiting, followed?.facts)
    if (followed !== undefined && facts !== undefined) followed.facts = facts
    return facts
  }

  async #summarize(facts: ModelFacts): Promise<void> {
    const summary = { ...facts, observer: this.#network.peerId, at: Math.floor(this.#clock.wall()) }
    const sealed = await sealSummary(summary, (bytes) => this.#network.sign(bytes))
    this.summaries.hear(summary, sealed)
    await this.#network.publish(SUMMARY_TOPIC, gossip.encode({ type: 'summary', ...sealed }))
  }

  async #withdraw(withdrawal: Withdrawal): Promise<void> {
    const models = this.directory.get(withdrawal.peer)?.hosts ?? new Set()
    const sealed = await sealWithdrawal(withdrawal, (bytes) => this.#network.sign(bytes))
    await this.#publish({ type: 'withdrawal', ...sealed }, models)
  }

  async #publish(message: Gossip, models: Iterable<string>): Promise<void> {
    const bytes = gossip.encode(message)
    await Promise.all([...models].map((model) => this.#network.publish(topicOf(model), bytes)))
  }

  #try(work: Promise<void>): void {
    work.catch((error: Error) => this.#debug(error))
  }

  #debug(error: Error): void {
    this.#init.logger?.debug(`swarm: ${error.message}`)
  }
}

function topicOf(model: string): string {
  return `/shoal/model/1/${model}`
}
