import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { makeFolder, ShoalError, type Startable, systemClock, VERSION } from '../common/index.ts'
import { createHost, type Host, type StageInfo } from '../net/index.ts'
import { Relays } from '../session/index.ts'
import { type Stage, StageServer } from '../stage/index.ts'
import type { Route, Swarm } from '../swarm/index.ts'
import { Codecs } from './codecs.ts'
import { Contributed } from './contributed.ts'
import { Drafts } from './drafts.ts'
import { namesIn } from './embedded-names.ts'
import { checkAddress, hostInit, listenOn, staysHere } from './host-init.ts'
import { type FinishProgress, Instance } from './instance.ts'
import { deputise } from './invitation.ts'
import { Library } from './library.ts'
import { Neighbours } from './neighbours.ts'
import { Participant, type WayRequest } from './participant.ts'
import { Pulls } from './pulls.ts'
import type { NodeSettings } from './settings.ts'
import { Sharing } from './sharing.ts'
import type { ModelStatus, NodeStatus } from './status.ts'
import type { SwarmFile } from './swarm-file.ts'

const NOTHING_JOINED: SwarmFile = { kind: 'local', asked: false, allow: [], block: [] }
/** How often sessions are counted meanwhile: often enough for people who watch. */
const COUNT_MS = 200
/** What an Info may hold of each; see docs/PROTOCOL.md. */
const MAX_ADDRESSES = 16
const MAX_PEERS = 64
/** How often it is looked what models there are. */
const LOOK_MS = 30_000
/** In a status: strangers can make up thousands. */
const MAX_MODELS = 256
/** Peers are pinged for a status; who does not answer by then has no round trip in it. */
const STATUS_PING_MS = 1_000

export interface StartOptions {
  readonly signal?: AbortSignal
}

export interface FinishOptions {
  /** Don't wait any longer. */
  readonly signal?: AbortSignal
  /** Called at once, and whenever the number of sessions has changed. */
  readonly onProgress?: (progress: FinishProgress) => void
}

export class Node implements Startable {
  readonly host: Host
  /** For the sessions that this node consumes. */
  readonly relays = new Relays()
  /** What it can be asked about before it has started: files on this machine. */
  readonly library: Library
  /** What models are called here, by id; see namesIn. */
  readonly names: ReturnType<typeof namesIn>
  /** What writes ahead of the answers that this node asks for. */
  readonly drafts: Drafts
  /** What their hidden states travel in. */
  readonly codecs: Codecs
  /** What it computes for others, or would. */
  readonly sharing: Sharing
  /** What others had of it. */
  readonly contributed: Contributed
  /** Models that are fetched because somebody asked for them. */
  readonly pulls: Pulls
  readonly #settings: NodeSettings
  readonly #joined: SwarmFile
  readonly #server: StageServer
  #participant: Participant | undefined
  readonly #neighbours: Neighbours | undefined
  readonly #instance: Instance | undefined
  readonly #finishWatchers = new Set<(progress: FinishProgress) => void>()
  readonly #life = new AbortController()
  #startedAt: number | undefined
  #started: Promise<void> | undefined
  #finishing: Promise<void> | undefined
  #looking: NodeJS.Timeout | undefined
  /** All ways to find others have been tried once. */
  #hasLooked = false

  constructor(settings: NodeSettings) {
    const {
      dataDir,
      ephemeral = false,
      replayMemoryBytes: logMemoryBytes,
      joined = NOTHING_JOINED
    } = settings
    this.#settings = settings
    this.#joined = joined
    this.host = createHost(hostInit(settings, joined))
    this.library = this.#newLibrary()
    this.names = namesIn(this.library)
    this.drafts = new Drafts(
      {
        ...{ library: this.library, names: this.names, clock: systemClock },
        freeMemory: () => process.availableMemory(),
        report: (message) => this.#report(message, 'warning')
      },
      settings.speculation ?? {}
    )
    this.codecs = new Codecs({ library: this.library, names: this.names }, settings.codec ?? 'f32')
    this.pulls = new Pulls({ library: this.library })
    this.contributed = new Contributed(
      {
        clock: systemClock,
        bytesSent: () => this.library.exchange.seeder.bytesSent,
        isSharing: () => this.sharing.state === 'on'
      },
      { folder: ephemeral ? undefined : dataDir }
    )
    this.#server = new StageServer(
      { host: this.host },
      {
        onComputed: (computed) => {
          if (computed.consumer !== this.host.peerId) this.contributed.computed(computed)
        },
        ...(ephemeral ? {} : { logFolder: this.#logFolder }),
        ...(logMemoryBytes === undefined ? {} : { logMemoryBytes })
      }
    )
    this.sharing = new Sharing(
      {
        ...{ self: this.host.peerId, participant: () => this.#part, server: this.#server },
        ...{ library: this.library, clock: systemClock, random: Math.random }
      },
      {
        ...{ hosting: settings.hosting, contribution: settings.contribution },
        report: (message, level) => this.#report(message, level)
      }
    )
    if (settings.neighbours !== undefined) {
      const secret = joined.kind === 'private' ? Buffer.from(joined.key).toString('hex') : joined.kind
      this.#neighbours = new Neighbours(settings.neighbours, secret)
    }
    if (ephemeral) return
    this.#instance = new Instance(dataDir, {
      finish: (say, gone) => this.#asked(say, gone),
      status: (say) => void this.status().then(say, () => {}) // who asks does not wait for long
    })
  }

  get #logFolder(): string {
    return join(this.#settings.dataDir, 'replay')
  }

  /** What it hosts now. */
  get stage(): Stage | undefined {
    return this.sharing.stage
  }

  /** What it tells others that it hosts. */
  get hosted(): StageInfo[] {
    return this.#server.infos
  }

  /** All that it knows of, hosted by anybody. */
  get models(): ModelStatus[] {
    return this.#participant?.models ?? []
  }

  /** Its part in a swarm; to be asked for once it has started. */
  get #part(): Participant {
    if (this.#participant === undefined) throw new Error('the node has not been started')
    return this.#participant
  }

  get swarm(): Swarm {
    return this.#part.swarm
  }

  /** Resolves when all ways to find others have been tried once. */
  get joined(): Promise<void> {
    return this.#part.joined
  }

  /** See Participant. */
  route(request: WayRequest): Promise<Route> {
    return this.#part.route(request)
  }

  /** See Participant. */
  follow(model: string): void {
    this.#part.follow(model)
  }

  /** See Participant. */
  rttTo(peer: string): number | undefined {
    return this.#part.rttTo(peer)
  }

  /** See Participant. */
  rttBetween(a: string, b: string): number {
    return this.#part.rttBetween(a, b)
  }

  /**
   * Loads the span that it is told to host before anybody can ask for it; joining, and choosing what to host, go on
   * after that. If it throws, `stop` frees what was started. Throws `ShoalError` IN_USE when another node uses the
   * folder, and the signal's reason, or an AbortError when it is stopped meanwhile. Peers that can't be reached are
   * warnings.
   */
  start({ signal }: StartOptions = {}): Promise<void> {
    const life = this.#life.signal
    this.#started ??= this.#start(signal === undefined ? life : AbortSignal.any([signal, life]))
    return this.#started
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { dataDir, peers } = this.#settings
    const listen = listenOn(this.#settings, this.#joined)
    for (const address of peers) checkAddress(address)
    makeFolder(dataDir)
    if (this.#instance !== undefined) {
      await this.#instance.hold()
      await rm(this.#logFolder, { recursive: true, force: true }) // what a crash has left
      await this.contributed.start()
    }
    signal.throwIfAborted()
    this.#participant = await this.#participation()
    this.#serve()
    await this.host.start().catch((cause: Error) => {
      const [reason] = /E[A-Z]+: .*/.exec(cause.message) ?? [cause.message] // the rest is advice for programmers
      throw new ShoalError('LISTEN', `Cannot listen on ${listen.join(', ')}: ${reason}`, { cause })
    })
    signal.throwIfAborted()
    const { addresses, peerId } = this.host
    const folder = this.#isPassing ? undefined : resolve(dataDir)
    // It is a convenience.
    if (addresses.length > 0) await this.#neighbours?.announce(peerId, addresses, folder).catch(() => {})
    await this.#part.start()
    void this.#part.joined.then(() => {
      this.#hasLooked = true
    })
    const { hosting, contribution, startsSharing = true } = this.#settings
    if (startsSharing && (hosting ?? contribution) !== undefined) await this.sharing.start(signal)
    else this.#part.announce({ stages: [] })
    signal.throwIfAborted()
    this.#startedAt = performance.now()
    if (!this.#isPassing) this.#lookLater()
  }

  get #isPassing(): boolean {
    return this.#settings.ephemeral ?? false
  }

  #newLibrary(): Library {
    const { dataDir, library } = this.#settings
    return new Library(
      {
        ...{ host: this.host, clock: systemClock, random: Math.random },
        suppliers: (id) => {
          this.#participant?.follow(id)
          return this.#participant?.suppliersOf(id) ?? []
        },
        isAlone: () => (this.#participant === undefined || this.#hasLooked) && this.host.peers.length === 0,
        onSeeds: () => this.#participant?.seedsChanged()
      },
      { folder: join(dataDir, 'store'), report: (message) => this.#report(message, 'warning'), ...library }
    )
  }

  /** Other commands fetch and remove models, too. */
  #lookLater(): void {
    void this.library.look().catch((error: Error) => {
      if (!this.#life.signal.aborted) this.#report(error.message, 'warning')
    })
    this.#looking = setTimeout(() => this.#lookLater(), LOOK_MS).unref()
  }

  async #participation(): Promise<Participant> {
    const { dataDir, ephemeral = false, peers, logger, acceptPlans } = this.#settings
    // A key of its own: the machine's vouches for it.
    const joined =
      ephemeral && this.#joined.kind === 'private'
        ? await deputise(dataDir, this.#joined, this.host.peerId)
        : this.#joined
    return new Participant(
      { host: this.host, clock: systemClock, random: Math.random, neighbours: this.#neighbours },
      {
        ...{ joined, addresses: peers, folder: dataDir, isPassing: ephemeral, logger },
        looksAround: !staysHere(this.#settings, this.#joined),
        seeds: () => this.library.seeds,
        load: (model) => this.#server.loads(model),
        assign: acceptPlans ? (span) => this.sharing.assign(span) : undefined,
        onUnreachable: (address, error) => this.#report(`${address}: ${error.message}`, 'warning')
      }
    )
  }

  #serve(): void {
    this.host.serve({
      info: () => ({
        version: VERSION,
        stages: this.hosted,
        addresses: this.host.addresses.slice(0, MAX_ADDRESSES),
        peers: this.host.peers
          .slice(0, MAX_PEERS)
          .map((peer) => ({ peer, addresses: this.host.addressesOf(peer).slice(0, MAX_ADDRESSES) }))
      }),
      control: (stream) => {
        void this.#part.mayConsume(stream.peer).then((isAllowed) => {
          if (isAllowed) this.#server.control(stream)
          else stream.abort(new ShoalError('MEMBERSHIP', `${stream.peer} may not ask here`))
        })
      },
      data: (ticket, stream) => this.relays.accept(ticket, stream) ?? this.#server.data(ticket, stream),
      ask: (peer, request) => this.#part.answer(peer, request),
      pieces: (stream) => this.library.serve(stream)
    })
  }

  #report(message: string, level: 'info' | 'warning'): void {
    this.#settings.onProgress?.(message, level)
  }

  async status(): Promise<NodeStatus> {
    const { host } = this
    const peers = await Promise.all(
      host.peers.map(async (peer) => {
        const rttMs = await host.ping(peer, AbortSignal.timeout(STATUS_PING_MS)).catch(() => undefined)
        const addresses = host.addressesOf(peer).slice(0, MAX_ADDRESSES)
        return { peer, addresses, ...(rttMs === undefined ? {} : { rttMs }) }
      })
    )
    const engineBytes = await this.stage?.engine.memory().catch(() => undefined) // it may be ending
    const now = performance.now()
    return {
      ...{ peer: host.peerId, version: VERSION, addresses: host.addresses, peers, ...this.facts },
      memoryBytes: process.memoryUsage.rss() + (engineBytes ?? 0),
      uptimeSeconds: Math.round((now - (this.#startedAt ?? now)) / 1000),
      drafts: this.drafts.loaded,
      hosting: this.hosted.map(({ model, name, start, end, blockCount }) => ({
        ...{ model, name, start, end, blockCount }
      })),
      models: this.models.slice(0, MAX_MODELS)
    }
  }

  /** What of its status is known at once. */
  get facts(): Pick<NodeStatus, 'swarm' | 'placement' | 'sessions' | 'join'> {
    const { kind } = this.#joined
    return {
      swarm: { kind, ...(this.#joined.kind === 'private' ? { name: this.#joined.name } : {}) },
      placement: this.#startedAt === undefined ? 'starting' : this.sharing.placement,
      sessions: this.#server.sessions,
      join: this.#participant?.steps ?? []
    }
  }

  /** Why it can't answer now, in plain words; undefined: it can. */
  get notReady(): string | undefined {
    if (this.#startedAt === undefined) return 'the node is starting'
    return this.#finishing === undefined ? undefined : 'the node is leaving'
  }

  /**
   * Takes no new sessions; resolves when those that run have moved to other nodes or ended, when the signal fires,
   * or after two minutes. To be followed by `stop`. A second call waits for the first one, whose signal counts.
   */
  finish({ signal, onProgress }: FinishOptions = {}): Promise<void> {
    if (onProgress !== undefined) this.#finishWatchers.add(onProgress)
    this.#finishing ??= this.#finish(signal)
    return this.#finishing
  }

  async #finish(signal: AbortSignal | undefined): Promise<void> {
    let said: number | undefined
    const report = (): void => {
      const { sessions } = this.#server
      if (sessions === said) return
      said = sessions
      for (const watcher of this.#finishWatchers) watcher({ sessions })
    }
    report()
    const counting = setInterval(report, COUNT_MS)
    await this.sharing.drain(signal)
    clearInterval(counting)
    report()
  }

  /** `shoal finish`: it watches until the node has left. */
  #asked(say: (progress: FinishProgress) => void, gone: AbortSignal): void {
    this.#finishWatchers.add(say)
    gone.addEventListener('abort', () => this.#finishWatchers.delete(say), { once: true })
    if (this.#finishing !== undefined) say({ sessions: this.#server.sessions })
    else if (this.#settings.onFinish !== undefined) this.#settings.onFinish()
    else void this.finish().then(() => this.stop())
  }

  async stop(): Promise<void> {
    this.#life.abort()
    clearTimeout(this.#looking)
    await this.#started?.catch(() => {}) // whoever started it knows
    await this.sharing.leave()
    await this.#participant?.stop()
    await this.#neighbours?.withdraw(this.host.peerId).catch(() => {}) // who finds it sees that nobody answers
    await this.#server.stop()
    await this.host.stop()
    await this.sharing.stop()
    await this.contributed.stop()
    await this.pulls.stop()
    await this.drafts.stop()
    await this.library.stop()
    await this.#instance?.release()
  }
}
