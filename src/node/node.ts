import { mkdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { multiaddr } from '@multiformats/multiaddr'
import { ShoalError, type Startable, VERSION } from '../common/index.ts'
import { type KvType, LlamaEngine } from '../engine/index.ts'
import { type ModelFile, openModel, writeSpan } from '../models/index.ts'
import { createHost, type Host, type HostLogger, type PeerAddress } from '../net/index.ts'
import { Relays } from '../session/index.ts'
import { Stage, StageServer } from '../stage/index.ts'
import { collectGarbage } from './garbage.ts'
import { type FinishProgress, Instance } from './instance.ts'

/** A span to host. */
export interface HostingSettings {
  /** A GGUF file. */
  readonly model: string
  /** Blocks `[start, end)`; default: all. */
  readonly blocks?: { readonly start: number; readonly end: number } | undefined
  /** KV positions, shared by all sessions. */
  readonly context: number
  readonly sessions: number
  /** Default: by the size of the span. */
  readonly threads?: number | undefined
  readonly kvType: KvType
  /** Blocks on a GPU; default all, 0 none. */
  readonly gpuLayers?: number | undefined
}

export interface NodeSettings {
  /** Identity and spans are kept here; only one node at a time can use it. */
  readonly dataDir: string
  /** Multiaddrs; empty: only dials. */
  readonly listen: readonly string[]
  /** Multiaddrs of nodes to know from the start. */
  readonly peers: readonly string[]
  readonly hosting?: HostingSettings
  /** A new identity that is not kept, and no hold on the folder: for consumers that come and go. */
  readonly ephemeral?: boolean
  /** Bytes per session of what was sent, kept in memory for replay; what is more goes to disk. Default 16 MiB. */
  readonly replayMemoryBytes?: number
  readonly logger?: HostLogger
  readonly onProgress?: (message: string, level: 'info' | 'warning') => void
  /** `shoal finish` asks for it: call `finish`, then `stop`. Default: just that. */
  readonly onFinish?: () => void
}

/** Frames' codec until others are negotiated. */
const CODEC = 'f32'
/** More threads than this much work keeps busy only wait for each other. */
const BYTES_PER_THREAD = 64 * 1024 * 1024

/** llama.cpp rounds contexts up to multiples of it. */
const CONTEXT_STEP = 256
/**
 * Consumers move their sessions within seconds. Where nobody else hosts the blocks, this is time for an answer of
 * 1,000 tokens at 10 per second; a consumer that only sits there keeps nobody longer.
 */
const FINISH_MS = 120_000
/** How often sessions are counted meanwhile: often enough for people who watch. */
const COUNT_MS = 200
/** What an Info may hold of each; see docs/PROTOCOL.md. */
const MAX_ADDRESSES = 16
const MAX_NAME = 256

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
  readonly #settings: NodeSettings
  readonly #server: StageServer
  readonly #instance: Instance | undefined
  readonly #known: PeerAddress[] = []
  readonly #finishWatchers = new Set<(progress: FinishProgress) => void>()
  #stage: Stage | undefined
  #started: Promise<void> | undefined
  #finishing: Promise<void> | undefined

  constructor(settings: NodeSettings) {
    this.#settings = settings
    const { dataDir, listen, logger, ephemeral, replayMemoryBytes: logMemoryBytes } = settings
    this.host = createHost({
      identity: ephemeral ? { ephemeral: true } : { keyPath: join(dataDir, 'identity.key') },
      listen: [...listen],
      ...(logger === undefined ? {} : { logger })
    })
    this.#server = new StageServer(
      { host: this.host },
      {
        ...(ephemeral ? {} : { logFolder: this.#logFolder }),
        ...(logMemoryBytes === undefined ? {} : { logMemoryBytes })
      }
    )
    if (!ephemeral) this.#instance = new Instance(dataDir, { finish: (say, gone) => this.#asked(say, gone) })
  }

  get #logFolder(): string {
    return join(this.#settings.dataDir, 'replay')
  }

  /** What it hosts, once started. */
  get stage(): Stage | undefined {
    return this.#stage
  }

  /**
   * Loads what it hosts before anybody can ask for it. If it throws, `stop` frees what was started. Throws
   * `ShoalError` IN_USE when another node uses the folder. Peers that can't be reached are warnings.
   */
  start(options: StartOptions = {}): Promise<void> {
    this.#started ??= this.#start(options)
    return this.#started
  }

  async #start(options: StartOptions): Promise<void> {
    const { hosting, dataDir, listen, peers } = this.#settings
    for (const address of peers) checkAddress(address)
    await mkdir(dataDir, { recursive: true })
    if (this.#instance !== undefined) {
      await this.#instance.hold()
      await rm(this.#logFolder, { recursive: true, force: true }) // what a crash has left
    }
    options.signal?.throwIfAborted()
    if (hosting !== undefined) {
      this.#stage = await this.#load(hosting, options)
      collectGarbage()
    }
    this.host.serve({
      info: () => ({
        version: VERSION,
        stages: this.#finishing === undefined ? this.#server.infos : [],
        addresses: this.host.addresses.slice(0, MAX_ADDRESSES),
        peers: this.#known
      }),
      control: (stream) => this.#server.control(stream),
      data: (ticket, stream) => this.relays.accept(ticket, stream) ?? this.#server.data(ticket, stream)
    })
    await this.host.start().catch((cause: Error) => {
      const [reason] = /E[A-Z]+: .*/.exec(cause.message) ?? [cause.message] // the rest is advice for programmers
      throw new ShoalError('LISTEN', `Cannot listen on ${listen.join(', ')}: ${reason}`, { cause })
    })
    await this.#connect(peers, options.signal)
  }

  async #connect(addresses: readonly string[], signal?: AbortSignal): Promise<void> {
    const found = await Promise.allSettled(addresses.map((address) => this.host.connect(address, signal)))
    signal?.throwIfAborted()
    for (const [index, result] of found.entries()) {
      const address = addresses[index] as string
      if (result.status === 'fulfilled') this.#known.push({ peer: result.value, addresses: [address] })
      else this.#settings.onProgress?.(`${address}: ${(result.reason as Error).message}`, 'warning')
    }
  }

  async #load(hosting: HostingSettings, options: StartOptions): Promise<Stage> {
    const report = (message: string): void => this.#settings.onProgress?.(message, 'info')
    const model = await openModel(hosting.model, options.signal)
    try {
      const { start, end } = hosting.blocks ?? { start: 0, end: model.blockCount }
      report(`writing blocks ${start}-${end} of ${model.name}`)
      const span = await writeSpan(model, { start, end }, join(this.#settings.dataDir, 'spans'), options)
      const { kvType, context, sessions, gpuLayers } = hosting
      const threads =
        hosting.threads ?? Math.min(availableParallelism(), Math.ceil(span.bytes / BYTES_PER_THREAD))
      const engine = new LlamaEngine({
        files: span.files,
        ...(span.embedding === undefined ? {} : { embedding: span.embedding }),
        ...(gpuLayers === undefined ? {} : { gpuLayers }),
        ...{ context, sequences: sessions, threads, kvTypeK: kvType, kvTypeV: kvType }
      })
      const { id, architecture, blockCount } = model
      const name = model.name.slice(0, MAX_NAME)
      const longContext = usesLongFactors(model, context)
      const profile = { kvTypeK: kvType, kvTypeV: kvType, flashAttention: true, codec: CODEC, longContext }
      const stage = new Stage({ engine }, { model: id, name, architecture, start, end, blockCount, profile })
      report('loading into the engine')
      await stage.start(options)
      this.#server.add(stage)
      return stage
    } finally {
      await model.close()
    }
  }

  /**
   * Takes no new sessions; resolves when those that run have moved to other nodes or ended, when the signal fires,
   * or after FINISH_MS. To be followed by `stop`. A second call waits for the first one, whose signal counts.
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
    const deadline = AbortSignal.timeout(FINISH_MS)
    await this.#server.drain(signal === undefined ? deadline : AbortSignal.any([signal, deadline]))
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
    await this.#server.stop()
    await this.host.stop()
    await this.#stage?.stop()
    await this.#instance?.release()
  }
}

function checkAddress(address: string): void {
  try {
    multiaddr(address)
  } catch (cause) {
    const message = `${address} is no address of a node: it must be a multiaddr, such as /ip4/127.0.0.1/tcp/4001.`
    throw new ShoalError('ADDRESS', message, { cause })
  }
}

/** llama.cpp switches rope factors when the context, in steps of 256, outgrows the one trained first. */
function usesLongFactors({ gguf, architecture }: ModelFile, context: number): boolean {
  const trained = gguf.metadata.get(`${architecture}.rope.scaling.original_context_length`)?.value
  return typeof trained === 'number' && Math.ceil(context / CONTEXT_STEP) * CONTEXT_STEP > trained
}
