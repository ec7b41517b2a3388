/** What a node gives: it hosts what its swarm needs most, of the models that it has, within its memory. */
import type { Clock, Startable } from '../common/index.ts'
import type { StageInfo } from '../net/index.ts'
import type { StageServer } from '../stage/index.ts'
import { OFFER, Placer, type Span, scout } from '../swarm/index.ts'
import type { EngineSettings, Hosting } from './hosting.ts'
import type { Participant } from './participant.ts'
import { loadingInfo, type Shelf, type ShelvedModel } from './shelf.ts'

/** How often it looks which models need somebody, where it has many. */
const SCOUT_MS = 5 * 60_000
/** Its own share of demand and load changes without an event. */
const ANNOUNCE_MS = 30_000
/** Whoever has found nobody by then decides for itself. */
const ALONE_MS = 5_000

export interface ContributorComponents {
  readonly participant: Participant
  readonly hosting: { host(...args: Parameters<Hosting['host']>): Promise<unknown> }
  readonly server: Pick<StageServer, 'infos'>
  readonly shelf: Shelf
  readonly clock: Clock
  readonly random: () => number
}

export interface ContributorInit extends EngineSettings {
  readonly self: string
  /** Most memory for weights and KV cache, in bytes. */
  readonly memoryBytes: number
  readonly report: (message: string, level: 'info' | 'warning') => void
}

export class Contributor implements Startable {
  readonly #components: ContributorComponents
  readonly #init: ContributorInit
  readonly #placer: Placer
  readonly #followed = new Map<string, () => void>()
  readonly #cancels = new Set<() => void>()
  #stopListening: (() => void) | undefined
  #loading: StageInfo | undefined
  #isDeciding = false
  #isPaused = false
  #isStopped = false

  constructor(components: ContributorComponents, init: ContributorInit) {
    const { participant, clock, random, shelf } = components
    const { directory } = participant.swarm
    this.#components = components
    this.#init = init
    this.#placer = new Placer(
      {
        ...{ clock, random },
        surroundings: () => ({
          stages: this.#hostable.flatMap(({ hostable }) => directory.stagesOf(hostable.model)),
          offersOf: (model) => directory.offersOf(model)
        }),
        demand: (model) => participant.demandOf(model),
        announce: (span) => this.#place(span),
        host: (span, signal) => this.#host(span, signal)
      },
      {
        self: init.self,
        caps: () => ({ memoryBytes: init.memoryBytes }),
        hostable: () => this.#hostable.map(({ hostable }) => hostable)
      }
    )
    for (const model of scout([...shelf.keys()], undefined, () => undefined, random)) this.#follow(model)
  }

  /** Models whose swarm it knows: about others it can't decide. */
  get #hostable(): ShelvedModel[] {
    const { shelf } = this.#components
    return [...this.#followed.keys()].map((model) => shelf.get(model) as ShelvedModel)
  }

  /** Resolves at once; it decides when it knows its surroundings. */
  async start(): Promise<void> {
    const { participant } = this.#components
    this.#announce()
    const cap = Promise.withResolvers<void>()
    this.#after(ALONE_MS, () => cap.resolve())
    void Promise.race([participant.joined, cap.promise]).then(async () => {
      if (this.#isStopped) return
      this.#isDeciding = true
      this.#stopListening = participant.swarm.directory.onChange(() => this.#placer.changed())
      if (!this.#isPaused) await this.#placer.start()
      this.#every(SCOUT_MS, () => this.#scout())
      this.#every(ANNOUNCE_MS, () => this.#announce())
    })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    for (const cancel of this.#cancels) cancel()
    this.#stopListening?.()
    await this.#placer.stop()
  }

  /** It tells nobody that it hosts anything, and decides nothing; what is loaded stays. */
  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#placer.stop()
    this.#announce()
  }

  async resume(): Promise<void> {
    this.#isPaused = false
    if (this.#isDeciding) await this.#placer.start()
    this.#announce()
  }

  /** What is being loaded. */
  get loading(): StageInfo | undefined {
    return this.#loading
  }

  /** It does not know yet what to host, or is loading it. */
  get isStarting(): boolean {
    return !this.#isDeciding || this.#loading !== undefined
  }

  /** In plain words: what it does, or waits for. */
  get status(): string {
    if (this.#isStopped) return 'leaving'
    return this.#isDeciding ? this.#placer.status : 'looking for other nodes before it decides what to host'
  }

  /** "shoal plan --apply" says what to host. */
  async assign(span: Span): Promise<{ accepted: boolean; message: string }> {
    const refusal = this.#placer.assign(span)
    return { accepted: refusal === undefined, message: refusal ?? '' }
  }

  #place(span: Span | undefined): void {
    const shelved = span === undefined ? undefined : this.#components.shelf.get(span.model)
    this.#loading =
      span === undefined || shelved === undefined ? undefined : loadingInfo(shelved, span, this.#init)
    this.#announce()
  }

  async #host({ model, start, end }: Span, signal: AbortSignal): Promise<void> {
    const { shelf, hosting } = this.#components
    const { called, hostable } = shelf.get(model) as ShelvedModel
    const what = `blocks ${start}-${end} of ${hostable.blockCount}, ${hostable.name}`
    try {
      await hosting.host(called, { start, end }, signal)
      this.#loading = undefined
      this.#announce()
      this.#init.report(`hosts ${what}`, 'info')
    } catch (error) {
      const reason = (error as Error).message
      if (!signal.aborted)
        this.#init.report(`cannot host ${what} now, tries again later: ${reason}`, 'warning')
      throw error
    }
  }

  #announce(): void {
    if (this.#isStopped) return // the node is leaving, and has said so
    const { participant, server } = this.#components
    if (this.#isPaused) {
      participant.announce({ stages: [] })
      return
    }
    const stages = this.#loading === undefined ? server.infos : [this.#loading]
    const helps = [...this.#followed.keys()].filter((model) => !participant.isCovered(model))
    participant.announce({ stages, helps, extensions: { [OFFER]: this.#placer.offer } })
  }

  /** Where there are many models, others are looked at now and then. */
  #scout(): void {
    const { shelf, participant, random } = this.#components
    const { summaries } = participant.swarm
    const held = this.#placer.current?.model
    const chosen = scout([...shelf.keys()], held, (model) => summaries.of(model), random)
    for (const model of chosen) this.#follow(model)
    for (const [model, unfollow] of this.#followed) {
      if (chosen.has(model)) continue
      unfollow()
      this.#followed.delete(model)
    }
    this.#announce()
  }

  #follow(model: string): void {
    if (!this.#followed.has(model))
      this.#followed.set(model, this.#components.participant.swarm.follow(model))
  }

  #after(ms: number, run: () => void): void {
    const cancel = this.#components.clock.after(ms, () => {
      this.#cancels.delete(cancel)
      run()
    })
    this.#cancels.add(cancel)
  }

  #every(ms: number, run: () => void): void {
    this.#after(ms, () => {
      run()
      this.#every(ms, run)
    })
  }
}
