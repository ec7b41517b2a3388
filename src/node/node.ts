import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { ShoalError, type Startable, VERSION } from '../common/index.ts'
import { type KvType, LlamaEngine } from '../engine/index.ts'
import { type ModelFile, openModel, writeSpan } from '../models/index.ts'
import { createHost, type Host, type HostLogger, type PeerAddress } from '../net/index.ts'
import { Stage, StageServer } from '../stage/index.ts'
import { collectGarbage } from './garbage.ts'

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
  /** Identity and spans are kept here. */
  readonly dataDir: string
  /** Multiaddrs; empty: only dials. */
  readonly listen: readonly string[]
  /** Multiaddrs of nodes to know from the start. */
  readonly peers: readonly string[]
  readonly hosting?: HostingSettings
  /** A new identity that is not kept: for consumers that come and go. */
  readonly ephemeral?: boolean
  readonly logger?: HostLogger
  readonly onProgress?: (message: string) => void
}

/** Frames' codec until others are negotiated. */
const CODEC = 'f32'
/** More threads than this much work keeps busy only wait for each other. */
const BYTES_PER_THREAD = 64 * 1024 * 1024

/** llama.cpp rounds contexts up to multiples of it. */
const CONTEXT_STEP = 256
/** What an Info may hold of each; see docs/PROTOCOL.md. */
const MAX_ADDRESSES = 16
const MAX_NAME = 256

export interface StartOptions {
  readonly signal?: AbortSignal
}

export class Node implements Startable {
  readonly host: Host
  readonly #settings: NodeSettings
  readonly #server: StageServer
  readonly #known: PeerAddress[] = []
  #stage: Stage | undefined
  #started: Promise<void> | undefined

  constructor(settings: NodeSettings) {
    this.#settings = settings
    const { dataDir, listen, logger, ephemeral } = settings
    this.host = createHost({
      identity: ephemeral ? { ephemeral: true } : { keyPath: join(dataDir, 'identity.key') },
      listen: [...listen],
      ...(logger === undefined ? {} : { logger })
    })
    this.#server = new StageServer({ host: this.host })
  }

  /** What it hosts, once started. */
  get stage(): Stage | undefined {
    return this.#stage
  }

  /** Loads what it hosts before anybody can ask for it. If it throws, `stop` frees what was started. */
  start(options: StartOptions = {}): Promise<void> {
    this.#started ??= this.#start(options)
    return this.#started
  }

  async #start(options: StartOptions): Promise<void> {
    const { hosting, dataDir, listen, peers } = this.#settings
    await mkdir(dataDir, { recursive: true })
    if (hosting !== undefined) {
      this.#stage = await this.#load(hosting, options)
      collectGarbage()
    }
    this.host.serve({
      info: () => ({
        version: VERSION,
        stages: this.#server.infos,
        addresses: this.host.addresses.slice(0, MAX_ADDRESSES),
        peers: this.#known
      }),
      control: (stream) => this.#server.control(stream),
      data: (ticket, stream) => this.#server.data(ticket, stream)
    })
    await this.host.start().catch((cause: Error) => {
      const [reason] = /E[A-Z]+: .*/.exec(cause.message) ?? [cause.message] // the rest is advice for programmers
      throw new ShoalError('LISTEN', `Cannot listen on ${listen.join(', ')}: ${reason}`, { cause })
    })
    for (const address of peers) {
      this.#known.push({ peer: await this.host.connect(address, options.signal), addresses: [address] })
    }
  }

  async #load(hosting: HostingSettings, options: StartOptions): Promise<Stage> {
    const report = (message: string): void => this.#settings.onProgress?.(message)
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

  async stop(): Promise<void> {
    await this.#server.stop()
    await this.host.stop()
    await this.#stage?.stop()
  }
}

/** llama.cpp switches rope factors when the context, in steps of 256, outgrows the one trained first. */
function usesLongFactors({ gguf, architecture }: ModelFile, context: number): boolean {
  const trained = gguf.metadata.get(`${architecture}.rope.scaling.original_context_length`)?.value
  return typeof trained === 'number' && Math.ceil(context / CONTEXT_STEP) * CONTEXT_STEP > trained
}
