/** Spans into stages and out again: what a node hosts at a time. */
import { availableParallelism } from 'node:os'
import type { KvType } from '../engine/index.ts'
import { LlamaEngine } from '../engine/index.ts'
import { type Model, type ModelFile, openModel, writeSpan } from '../models/index.ts'
import type { Profile } from '../net/index.ts'
import { measureSpeed, Stage, type StageServer } from '../stage/index.ts'
import { collectGarbage } from './garbage.ts'

export interface EngineSettings {
  /** KV positions, shared by all sessions. */
  readonly context: number
  readonly sessions: number
  /** Default: by the size of the span. */
  readonly threads?: number | undefined
  readonly kvType: KvType
  /** Blocks on a GPU; default all, 0 none. */
  readonly gpuLayers?: number | undefined
}

export interface HostingInit extends EngineSettings {
  /** Where spans are written. */
  readonly folder: string
  readonly report?: ((message: string) => void) | undefined
}

/** Frames' codec until others are negotiated. */
const CODEC = 'f32'
/** More threads than this much work keeps busy only wait for each other. */
const BYTES_PER_THREAD = 64 * 1024 * 1024
/** llama.cpp rounds contexts up to multiples of it. */
const CONTEXT_STEP = 256
const MAX_NAME = 256
/**
 * Sessions that have somewhere else to go are gone within seconds. Others would keep a node from where it is needed
 * more, and are repaired by whoever comes later.
 */
const RETIRE_MS = 10_000

export interface Range {
  readonly start: number
  readonly end: number
}

export class Hosting {
  readonly #server: StageServer
  readonly #init: HostingInit
  /** Aborted when nothing is to be hosted any more. */
  readonly #life = new AbortController()
  #stage: Stage | undefined
  #loading: Promise<unknown> | undefined

  constructor({ server }: { readonly server: StageServer }, init: HostingInit) {
    this.#server = server
    this.#init = init
  }

  get stage(): Stage | undefined {
    return this.#stage
  }

  /**
   * Hosts `blocks` of a GGUF file from now on, by default all, and nothing else: what was hosted before is let go of
   * first, so that memory needs to hold one of them only. Throws what opening, writing or loading throws, or the
   * signal's reason; nothing is hosted then.
   */
  host(path: string, blocks: Range | undefined, signal?: AbortSignal): Promise<Stage> {
    const life = this.#life.signal
    const loading = this.#host(path, blocks, signal === undefined ? life : AbortSignal.any([signal, life]))
    this.#loading = loading
    return loading
  }

  async #host(path: string, blocks: Range | undefined, signal: AbortSignal): Promise<Stage> {
    await this.#retire(signal)
    const model = await openModel(path, { signal })
    try {
      const stage = await this.#load(model, blocks ?? { start: 0, end: model.blockCount }, signal)
      this.#stage = stage
      this.#server.add(stage)
      return stage
    } finally {
      await model.close()
      collectGarbage()
    }
  }

  async #load(model: ModelFile, blocks: Range, signal: AbortSignal): Promise<Stage> {
    const { report, folder, kvType, context, sessions, gpuLayers, threads } = this.#init
    const { start, end } = blocks
    report?.(`writing blocks ${start}-${end} of ${model.name}`)
    const span = await writeSpan(model, { start, end }, folder, { signal })
    const engine = new LlamaEngine({
      files: span.files,
      ...(span.embedding === undefined ? {} : { embedding: span.embedding }),
      ...(gpuLayers === undefined ? {} : { gpuLayers }),
      threads: threads ?? Math.min(availableParallelism(), Math.ceil(span.bytes / BYTES_PER_THREAD)),
      ...{ context, sequences: sessions, kvTypeK: kvType, kvTypeV: kvType }
    })
    const { id, architecture, blockCount } = model
    const [name, profile] = [nameOf(model), profileOf(model, this.#init)]
    const stage = new Stage({ engine }, { model: id, name, architecture, start, end, blockCount, profile })
    try {
      report?.('loading into the engine')
      await stage.start({ signal })
      stage.speed = await measureSpeed(engine)
      signal.throwIfAborted() // whoever stops the node waits for it
      return stage
    } catch (error) {
      await stage.stop()
      throw error
    }
  }

  async #retire(signal: AbortSignal): Promise<void> {
    const stage = this.#stage
    if (stage === undefined) return
    this.#stage = undefined
    try {
      await this.#server.retire(stage, AbortSignal.any([signal, AbortSignal.timeout(RETIRE_MS)]))
    } finally {
      await stage.stop()
    }
  }

  /** For good. What is being loaded is given up. */
  async stop(): Promise<void> {
    this.#life.abort()
    await this.#loading?.catch(() => {}) // whoever asked for it knows
    await this.#stage?.stop()
  }
}

export function nameOf({ name }: Model): string {
  return name.slice(0, MAX_NAME)
}

/** What a stage of the model agrees on with others in its chain. */
export function profileOf(model: Model, { kvType, context }: EngineSettings): Profile {
  const longContext = usesLongFactors(model, context)
  return { kvTypeK: kvType, kvTypeV: kvType, flashAttention: true, codec: CODEC, longContext }
}

/** llama.cpp switches rope factors when the context, in steps of 256, outgrows the one trained first. */
function usesLongFactors({ gguf, architecture }: Model, context: number): boolean {
  const trained = gguf.metadata.get(`${architecture}.rope.scaling.original_context_length`)?.value
  return typeof trained === 'number' && Math.ceil(context / CONTEXT_STEP) * CONTEXT_STEP > trained
}
