/** What a node computes for others, as something that is switched on and off while the node runs. */
import type { Clock } from '../common/index.ts'
import { ShoalError } from '../common/index.ts'
import type { SharingState } from '../gateway/index.ts'
import type { StageInfo } from '../net/index.ts'
import type { Stage, StageServer } from '../stage/index.ts'
import type { Span } from '../swarm/index.ts'
import { Contributor } from './contributor.ts'
import { type EngineSettings, Hosting } from './hosting.ts'
import type { Library } from './library.ts'
import type { Participant } from './participant.ts'
import type { ContributionSettings, HostingSettings } from './settings.ts'
import { openShelf } from './shelf.ts'

/** Of what is free when it starts: people go on using their machine. */
const MEMORY_SHARE = 0.5
/**
 * Consumers move their sessions within seconds. Where nobody else hosts the blocks, this is time for an answer of
 * 1,000 tokens at 10 per second; a consumer that only sits there keeps nobody longer.
 */
const FINISH_MS = 120_000

export interface SharingComponents {
  readonly self: string
  /** To be asked for once it is needed. */
  readonly participant: () => Participant
  readonly server: StageServer
  readonly library: Library
  readonly clock: Clock
  readonly random: () => number
}

export interface SharingInit {
  /** A span to host, whatever the swarm lacks. */
  readonly hosting?: HostingSettings | undefined
  /** To host what the swarm lacks most. Neither: it only asks. */
  readonly contribution?: ContributionSettings | undefined
  readonly report: (message: string, level: 'info' | 'warning') => void
}

/** What may be changed between two starts. */
export type SharingCaps = Partial<Pick<ContributionSettings, 'memoryBytes' | 'models' | 'threads'>>

export class Sharing {
  readonly #components: SharingComponents
  readonly #init: SharingInit
  #caps: SharingCaps = {}
  #state: Exclude<SharingState, 'paused'> = 'off'
  /** Why no new sessions are taken, by who says so; in plain words. */
  readonly #pauses = new Map<string, string>()
  #hosting: Hosting | undefined
  #contributor: Contributor | undefined
  /** Aborted when what is started is to end. */
  #run = new AbortController()
  #starting: Promise<void> | undefined
  #finishing: Promise<void> | undefined
  /** Why it could not start. */
  #failure: string | undefined

  constructor(components: SharingComponents, init: SharingInit) {
    this.#components = components
    this.#init = init
  }

  get state(): SharingState {
    if (this.#state === 'off' || this.#state === 'finishing') return this.#state
    if (this.#pauses.size > 0) return 'paused'
    return this.#contributor?.isStarting ? 'starting' : this.#state
  }

  /** What it has loaded. */
  get stage(): Stage | undefined {
    return this.#hosting?.stage
  }

  /** What it is loading, where it chose that itself. */
  get loading(): StageInfo | undefined {
    return this.#contributor?.loading
  }

  /** It was told what to host. */
  get isTold(): boolean {
    return this.#init.hosting !== undefined
  }

  /** In plain words: why it hosts what it does, or what it waits for. Empty where it was told what to host, or only asks. */
  get placement(): string {
    const [pause] = this.#pauses.values()
    if (this.#failure !== undefined) return this.#failure
    if (this.#state === 'finishing') return 'leaving'
    if (this.#state === 'off') return this.#canShare ? 'sharing is switched off' : ''
    if (pause !== undefined) return `paused: ${pause}`
    return this.#contributor?.status ?? ''
  }

  get #canShare(): boolean {
    return this.#init.hosting !== undefined || this.#init.contribution !== undefined
  }

  /** For the next start. */
  configure(caps: SharingCaps): void {
    this.#caps = { ...this.#caps, ...caps }
  }

  /**
   * Resolves when a span that it was told to host is there, else at once; what it chooses comes later. Throws what
   * reading the models and loading throws, or the signal's reason: then it is off.
   */
  start(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'finishing') {
      throw new ShoalError(
        'FINISHING',
        'Answers of others are still ending: wait until they have, two minutes at most.'
      )
    }
    if (this.#state !== 'off') return this.#starting ?? Promise.resolve()
    this.#state = 'starting'
    this.#failure = undefined
    this.#run = new AbortController()
    const run = this.#run.signal
    this.#starting = this.#start(signal === undefined ? run : AbortSignal.any([signal, run]))
    return this.#starting
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { server } = this.#components
    server.resume()
    if (this.#pauses.size > 0) server.pause()
    try {
      if (this.#init.hosting !== undefined) await this.#host(this.#init.hosting, signal)
      else if (this.#init.contribution !== undefined) await this.#contribute(this.#init.contribution, signal)
      signal.throwIfAborted()
      this.#state = 'on'
    } catch (error) {
      if (!signal.aborted) this.#failure = (error as Error).message
      if (this.#state === 'starting') await this.#end()
      throw error
    }
  }

  async #host({ model, blocks, ...engine }: HostingSettings, signal: AbortSignal): Promise<void> {
    this.#hosting = this.#hostingWith({ ...engine, ...this.#engineCaps })
    await this.#hosting.host(model, blocks, signal) // blocks and headers may have to be fetched from others first
    this.#announce()
  }

  async #contribute(settings: ContributionSettings, signal: AbortSignal): Promise<void> {
    const { participant, server, clock, random, library, self } = this.#components
    const { report } = this.#init
    const { models = settings.models, memoryBytes = settings.memoryBytes ?? defaultMemoryBytes() } =
      this.#caps
    const engine = { ...settings, ...this.#engineCaps }
    const say = (message: string): void => report(message, 'info')
    const shelf = await openShelf(models, library, engine, { signal, report: say })
    this.#hosting = this.#hostingWith(engine)
    this.#contributor = new Contributor(
      { participant: participant(), hosting: this.#hosting, server, shelf, clock, random },
      { ...engine, self, memoryBytes, report }
    )
    signal.throwIfAborted()
    if (this.#pauses.size > 0) await this.#contributor.pause()
    await this.#contributor.start()
  }

  get #engineCaps(): Partial<EngineSettings> {
    const { threads } = this.#caps
    return threads === undefined ? {} : { threads }
  }

  #hostingWith(settings: EngineSettings): Hosting {
    const { server, library } = this.#components
    const report = (message: string): void => this.#init.report(message, 'info')
    return new Hosting({ server, library }, { ...settings, report })
  }

  #announce(): void {
    const { participant, server } = this.#components
    participant().announce({ stages: server.infos })
  }

  /** No new sessions until everybody who said so has called `resume`; those that run go on. */
  async pause(by: string, reason: string): Promise<void> {
    this.#pauses.set(by, reason)
    if (this.#state !== 'on' && this.#state !== 'starting') return
    this.#components.server.pause()
    if (this.#contributor !== undefined) await this.#contributor.pause()
    else if (this.#hosting !== undefined) this.#announce()
  }

  async resume(by: string): Promise<void> {
    if (!this.#pauses.delete(by) || this.#pauses.size > 0) return
    if (this.#state !== 'on' && this.#state !== 'starting') return
    this.#components.server.resume()
    if (this.#contributor !== undefined) await this.#contributor.resume()
    else if (this.#hosting !== undefined) this.#announce()
  }

  /** Who says that no new sessions are to be taken, and why. */
  get pauses(): ReadonlyMap<string, string> {
    return this.#pauses
  }

  /**
   * Takes no new sessions; resolves when those that run have moved to other nodes or ended, when the signal fires, or
   * after `ms`. To be followed by `stop`.
   */
  async drain(signal?: AbortSignal, ms: number = FINISH_MS): Promise<void> {
    if (this.#state === 'off') return
    this.#state = 'finishing'
    await this.leave()
    const { participant, server } = this.#components
    participant().announce({ stages: [] })
    const deadline = AbortSignal.timeout(ms)
    await server.drain(signal === undefined ? deadline : AbortSignal.any([signal, deadline]))
  }

  /** Drains, and lets go of what it hosts: then it is off. A second call waits for the first one. */
  finish(ms?: number): Promise<void> {
    if (this.#state === 'off') return Promise.resolve()
    this.#finishing ??= this.drain(undefined, ms)
      .then(() => this.#end())
      .finally(() => {
        this.#finishing = undefined
      })
    return this.#finishing
  }

  /** Takes no new sessions, and decides nothing any more. */
  async leave(): Promise<void> {
    this.#components.server.pause()
    this.#run.abort()
    await this.#contributor?.stop()
    await this.#starting?.catch(() => {}) // whoever started it knows
  }

  async #end(): Promise<void> {
    await this.#contributor?.stop()
    await this.#hosting?.stop()
    this.#contributor = undefined
    this.#hosting = undefined
    this.#starting = undefined
    this.#state = 'off'
  }

  /** Ends all that is left of it. */
  async stop(): Promise<void> {
    await this.leave()
    await this.#end()
  }

  /** "shoal plan --apply" says what to host. */
  async assign(span: Span): Promise<{ accepted: boolean; message: string }> {
    if (this.isTold) return { accepted: false, message: 'this node was told by its owner what to host' }
    if (this.#contributor !== undefined) return this.#contributor.assign(span)
    return { accepted: false, message: 'this node does not host anything now' }
  }
}

/** Where nobody says how much. */
export function defaultMemoryBytes(): number {
  return Math.floor(process.availableMemory() * MEMORY_SHARE)
}
