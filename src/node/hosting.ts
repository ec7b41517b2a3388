/** Spans into stages and out again: what a node hosts at a time. */
import { availableParallelism } from 'node:os'
import { ShoalError } from '../common/index.ts'
import type { KvType } from '../engine/index.ts'
import { LlamaEngine } from '../engine/index.ts'
import { checkSpans, type Model, partsOf, type StoredSpan } from '../models/index.ts'
import type { Profile } from '../net/index.ts'
import { measureSpeed, Stage, type StageServer } from '../stage/index.ts'
import { collectGarbage } from './garbage.ts'
import type { FetchOptions, Library, NamedModel } from './library.ts'

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

export interface HostingComponents {
  readonly server: StageServer
  readonly library: Pick<Library, 'find' | 'fetch' | 'store'>
}

export interface HostingInit extends EngineSettings {
  readonly report?: ((message: string) => void) | undefined
}

/** Frames' codec until others are negotiated. */
const CODEC = 'f32'
/** More threads than this much work keeps busy only wait for each other. */
const BYTES_PER_THREAD = 64 * 1024 * 1024
/** llama.cpp rounds contexts up to multiples of it. */
const CONTEXT_STEP = 256
const MAX_NAME = 256
/** While blocks are fetched. */
const REPORT_MS = 5_000
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
  readonly #library: HostingComponents['library']
  readonly #init: HostingInit
  /** Aborted when nothing is to be hosted any more. */
  readonly #life = new AbortController()
  #stage: Stage | undefined
  /** What the stage has of the store, if it is not a file of its own. */
  #span: StoredSpan | undefined
  #loading: Promise<unknown> | undefined

  constructor({ server, library }: HostingComponents, init: HostingInit) {
    this.#server = server
    this.#library = library
    this.#init = init
  }

  get stage(): Stage | undefined {
    return this.#stage
  }

  /**
   * Hosts `blocks` of a model from now on, by default all, and nothing else: what was hosted before is let go of first,
   * so that memory needs to hold one of them only. What is missing of the blocks is fetched. Throws what finding,
   * fetching or loading throws, or the signal's reason; nothing is hosted then.
   */
  host(called: string, blocks: Range | undefined, signal?: AbortSignal): Promise<Stage> {
    const life = this.#life.signal
    const loading = this.#host(called, blocks, signal === undefined ? life : AbortSignal.any([signal, life]))
    this.#loading = loading
    return loading
  }

  async #host(called: string, blocks: Range | undefined, signal: AbortSignal): Promise<Stage> {
    await this.#retire(signal)
    const onProgress = reporter(`reading ${called}`, this.#init.report)
    const model = await this.#library.find(called, { signal, onProgress })
    try {
      const range = blocks ?? { start: 0, end: model.blockCount }
      this.#span = await this.#fetch(model, range, signal)
      const stage = await this.#load(model, range, signal)
      this.#stage = stage
      this.#server.add(stage)
      return stage
    } catch (error) {
      this.#release()
      throw error
    } finally {
      collectGarbage()
    }
  }

  /** Undefined where all of it is in files of its own, which need not be cut. */
  async #fetch(
    model: NamedModel,
    { start, end }: Range,
    signal: AbortSignal
  ): Promise<StoredSpan | undefined> {
    checkSpans(model)
    if (start < 0 || start >= end || end > model.blockCount) {
      const all = `it has the blocks 0-${model.blockCount}`
      throw new ShoalError('SPAN', `There are no blocks ${start}-${end} in ${model.name}: ${all}.`)
    }
    if (start === 0 && end === model.blockCount && model.files !== undefined) return undefined
    const { items } = model.manifest
    const report = reporter(`fetching blocks ${start}-${end} of ${model.name}`, this.#init.report)
    await this.#library.fetch(model, partsOf(items, { start, end }, model.blockCount), {
      signal,
      onProgress: report
    })
    return (await this.#library.store).span(model.id, { start, end }, { signal })
  }

  async #load(model: NamedModel, { start, end }: Range, signal: AbortSignal): Promise<Stage> {
    const { report, kvType, context, sessions, gpuLayers, threads } = this.#init
    const span = this.#span
    const { files, embedding, bytes } = span?.files ?? {
      files: model.files ?? [],
      bytes: model.manifest.byteLength,
      embedding: undefined
    }
    const engine = new LlamaEngine(
      {
        ...{ files, context, sequences: sessions, kvTypeK: kvType, kvTypeV: kvType },
        ...(embedding === undefined ? {} : { embedding }),
        ...(gpuLayers === undefined ? {} : { gpuLayers }),
        threads: threads ?? Math.min(availableParallelism(), Math.ceil(bytes / BYTES_PER_THREAD))
      },
      span === undefined ? {} : { reload: (load, again) => span.load(load, again) }
    )
    const { id, architecture, blockCount } = model
    const [name, profile] = [nameOf(model), profileOf(model, this.#init)]
    const stage = new Stage({ engine }, { model: id, name, architecture, start, end, blockCount, profile })
    try {
      report?.('loading into the engine')
      const started = (): Promise<void> => stage.start({ signal })
      await (span === undefined ? started() : span.load(started, signal))
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
      this.#release()
    }
  }

  /** Others may have its place on disk from now on. */
  #release(): void {
    this.#span?.release()
    this.#span = undefined
  }

  /** For good. What is being loaded is given up, and sessions are ended. */
  async stop(): Promise<void> {
    this.#life.abort()
    await this.#loading?.catch(() => {}) // whoever asked for it knows
    await this.#retire(this.#life.signal)
  }
}

/** A line now and then for whoever waits, but none for what is done at once. */
export function reporter(what: string, report: HostingInit['report']): FetchOptions['onProgress'] {
  let said = performance.now()
  return ({ bytes = 0, totalBytes = 0, bytesPerSecond, peers }) => {
    if (performance.now() - said < REPORT_MS) return
    said = performance.now()
    const mega = (count: number): string => (count / 1e6).toFixed(count < 1e7 ? 1 : 0)
    const rate = bytesPerSecond === undefined ? '' : `, ${mega(bytesPerSecond)} MB/s`
    const from = peers === undefined ? '' : `, ${peers} ${peers === 1 ? 'peer' : 'peers'}`
    report?.(`${what}: ${mega(bytes)} of ${mega(totalBytes)} MB${rate}${from}`)
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
