/** The models that this node knows, by what people call them, and how their blocks come here and go to others. */
import { join } from 'node:path'
import { type Clock, ShoalError } from '../common/index.ts'
import {
  Exchange,
  GgufPieces,
  type HttpInit,
  type Listing,
  type ModelSummary,
  type PartName,
  type PieceSource,
  readListing,
  resolveName,
  Store,
  type StoredModel
} from '../models/index.ts'
import type { PeerAddress, PieceHost, PieceStream } from '../net/index.ts'
import { hashStored } from './hash-stored.ts'
import { ModelFiles } from './model-files.ts'
import { type FetchOptions, inBytes, ModelFinder, type NamedModel } from './model-finder.ts'
import { ModelNames } from './model-names.ts'
import { Remotes } from './remotes.ts'
import { Suppliers } from './suppliers.ts'
import { type Vocabulary, writeVocabulary } from './vocabulary.ts'

export type { FetchOptions, NamedModel }

export interface LibraryComponents {
  readonly host: PieceHost
  readonly clock: Clock
  readonly random: () => number
  /** Who may have pieces of a model. The first question begins a search: ask again. */
  readonly suppliers: (id: string) => readonly PeerAddress[]
  /** Nobody is connected, and everybody who could be was looked for. */
  readonly isAlone: () => boolean
  /** Models that others can have pieces of are other ones now. */
  readonly onSeeds?: () => void
}

export interface LibraryInit {
  /** Of the store. */
  readonly folder: string
  /** Most bytes that it keeps; default: no bound but the disk's. */
  readonly quotaBytes?: number | undefined
  /** Most bytes per second given to others; default: no bound but the line's. */
  readonly uploadBytesPerSecond?: number | undefined
  /** Which models others get pieces of, by their ids; default: all that there are. */
  readonly gives?: ((id: string) => boolean) | undefined
  /** Where it is remembered what large files hash to. */
  readonly cache?: string | undefined
  readonly http?: HttpInit | undefined
  readonly report?: ((message: string) => void) | undefined
}

/** Undefined: no bound. */
export type LibraryLimits = Pick<LibraryInit, 'quotaBytes' | 'uploadBytesPerSecond'> & {
  /** Of pieces, from peers and sources. */
  readonly downloadBytesPerSecond?: number | undefined
}

export class Library {
  readonly exchange: Exchange
  /** Models, by their ids, that others get no pieces of, whatever `gives` says; to be followed by `look`. */
  readonly withheld = new Set<string>()
  readonly names: ModelNames
  readonly #components: LibraryComponents
  readonly #init: LibraryInit
  readonly #remotes: Remotes
  readonly #suppliers: Suppliers
  readonly #files: ModelFiles
  readonly #finder: ModelFinder
  #store: Promise<Store> | undefined
  #quota: number | undefined
  #seeds: readonly string[] = []

  constructor(components: LibraryComponents, init: LibraryInit) {
    const { host, clock, random } = components
    this.#components = components
    this.#init = init
    this.#quota = init.quotaBytes
    this.names = new ModelNames(join(init.folder, 'names'))
    this.#remotes = new Remotes(init.http, init.report)
    this.exchange = new Exchange(
      {
        ...{ host, clock, random },
        models: (id) => this.#given(id),
        listing: async (id) => (await this.#store)?.listing(id)
      },
      { bytesPerSecond: init.uploadBytesPerSecond }
    )
    this.#suppliers = new Suppliers({ ...components, exchange: this.exchange })
    this.#files = new ModelFiles(init.cache)
    this.#finder = new ModelFinder({
      ...{ ...components, exchange: this.exchange, store: () => this.store },
      ...{ files: this.#files, names: this.names, remotes: this.#remotes }
    })
  }

  /** Opened when it is first needed: who only asks about a file keeps nothing. */
  get store(): Promise<Store> {
    const { folder, report } = this.#init
    this.#store ??= Store.open({ folder, quota: this.#quota, report })
    return this.#store
  }

  /** All of them anew, from now on. */
  async limit(limits: LibraryLimits): Promise<void> {
    const { quotaBytes, uploadBytesPerSecond: up, downloadBytesPerSecond: down } = limits
    this.exchange.seeder.bytesPerSecond = up ?? Number.POSITIVE_INFINITY
    this.exchange.downloads.rate = down ?? Number.POSITIVE_INFINITY
    this.#quota = quotaBytes
    const store = await this.#store
    if (store !== undefined) store.quota = quotaBytes
  }

  /** For Handlers.pieces. */
  serve(stream: PieceStream): void {
    this.exchange.serve(stream)
  }

  /** Models that this node can give pieces of, as of the last `look`. */
  get seeds(): readonly string[] {
    return this.#seeds
  }

  /** Looks what there is: other processes fetch, too. */
  async look(): Promise<ModelSummary[]> {
    const models = await (await this.store).list()
    // Whoever gets pieces has to be able to check them.
    const givable = models.filter(({ isHashed, bytesThere }) => isHashed && bytesThere > 0)
    const all = [...new Set([...this.#files.ids, ...givable.map(({ id }) => id)])]
    const seeds = all.filter((id) => this.#mayGive(id))
    const isSame = seeds.length === this.#seeds.length && seeds.every((id) => this.#seeds.includes(id))
    this.#seeds = seeds
    if (!isSame) this.#components.onSeeds?.()
    return models
  }

  #mayGive(id: string): boolean {
    return !this.withheld.has(id) && (this.#init.gives?.(id) ?? true)
  }

  async #given(id: string): Promise<StoredModel | undefined> {
    if (!this.#mayGive(id)) return undefined
    return this.#files.get(id) ?? (await this.#store)?.get(id)
  }

  /**
   * What a name means. Files are hashed, remote headers read, peers asked for an id's manifest. Throws a ShoalError
   * NAME, MODEL_FILE, MANIFEST or UNAVAILABLE, a GgufError, or a SourceError.
   */
  find(text: string, options: FetchOptions = {}): Promise<NamedModel> {
    return this.#finder.find(text, options)
  }

  /** What is said of a model; undefined where nobody has said anything that can be read. */
  async listing(id: string): Promise<Listing | undefined> {
    const bytes = await (await this.store).listing(id)
    return bytes === undefined ? undefined : readListing(bytes).catch(() => undefined)
  }

  /**
   * Has these parts in the store: from files on this machine, from peers and from where the model is said to be, at
   * once. Throws what a Transfer throws, a SourceError, or a ShoalError NO_SOURCE where nobody can be asked.
   */
  async fetch(model: NamedModel, parts: ReadonlySet<PartName>, options: FetchOptions = {}): Promise<void> {
    const { signal } = options
    const store = await this.store
    await store.add(model.manifest)
    if (resolveName(model.called).kind === 'catalogue') await this.names.set(model.called, model.id)
    const stored = await store.get(model.id, { signal, onProgress: inBytes(options) })
    if (stored.missing(parts).length === 0) return
    const lease = await store.lease(model.id, parts)
    try {
      await this.#transfer(model, stored, parts, options)
    } finally {
      lease.release()
    }
    await this.look()
  }

  async #transfer(
    model: NamedModel,
    stored: StoredModel,
    parts: ReadonlySet<PartName>,
    { signal, onProgress }: FetchOptions
  ): Promise<void> {
    const end = new AbortController()
    const either = signal === undefined ? end.signal : AbortSignal.any([signal, end.signal])
    const onFailed = (error: Error): void => {
      // With peers it goes on, else nobody is left.
      if (this.#suppliers.of(model.id) > 0) this.#init.report?.(error.message)
      else end.abort(error)
    }
    const source = await this.#source(model, onFailed)
    let isTold = false
    const report: FetchOptions['onProgress'] = (step) => {
      // Others who begin at the same time are to find this node before it has all.
      if (!isTold && (step.bytes ?? 0) > 0) void this.look().catch(() => {}) // it is looked at the end, too
      isTold ||= (step.bytes ?? 0) > 0
      onProgress?.(step)
    }
    const onBadSource = (bad: PieceSource): void => {
      if (bad === source) onFailed(changed(bad))
    }
    const isHashed = model.manifest.pieces !== undefined
    if (source === undefined && !isHashed) throw unhashed(model)
    try {
      if (source?.kind !== 'file' && isHashed) {
        const hasSource = source !== undefined
        const onNobody = (error: Error): void => end.abort(error)
        await this.#suppliers.seek(model.id, { hasSource, signal: either, onNobody })
      }
      const sources = source === undefined ? [] : [source]
      await this.exchange.fetch(
        stored,
        { parts, onProgress: report, onBadSource },
        { sources, signal: either }
      )
    } finally {
      end.abort()
      if (source?.kind !== 'file') await source?.close()
    }
  }

  /** Undefined: only peers may have it. A file's stays open. */
  async #source(model: NamedModel, onFailed: (error: Error) => void): Promise<PieceSource | undefined> {
    const file = this.#files.get(model.id)
    if (file !== undefined) return new GgufPieces(file.model)
    const { manifest, place } = model
    return this.#remotes.source({ manifest, place, listing: await this.listing(model.id) }, onFailed)
  }

  /**
   * The same model with hashes of all its pieces: one that nobody has hashed is fetched as a whole, and takes the place
   * of the one before under its name.
   */
  async hashed(model: NamedModel, options: FetchOptions = {}): Promise<NamedModel> {
    if (model.manifest.pieces !== undefined) return model
    await this.fetch(model, new Set(model.manifest.items.map(({ part }) => part)), options)
    const store = await this.store
    const manifest = await hashStored(store, model.id, {
      signal: options.signal,
      onProgress: inBytes(options)
    })
    const found = await this.#finder.keep(model, manifest)
    await this.look()
    return found
  }

  /** Keeps what is here of a model, for as long as this library is open. */
  async hold(id: string): Promise<void> {
    const store = await this.store
    const model = await store.get(id)
    const parts = [...model.layout.parts.keys()].filter((part) => model.missing(new Set([part])).length === 0)
    await store.lease(id, new Set(parts))
  }

  /** To talk to a model that others compute; what is missing of its tokenizer is fetched. */
  async vocabulary(model: NamedModel, options: FetchOptions = {}): Promise<Vocabulary> {
    if (model.files !== undefined) return { gguf: model.gguf, files: model.files }
    await this.fetch(model, new Set(['tokenizer']), options)
    return writeVocabulary(await (await this.store).get(model.id))
  }

  async stop(): Promise<void> {
    await this.exchange.stop()
    await this.#files.close()
    await (await this.#store?.catch(() => undefined))?.close()
  }
}

function changed({ name }: PieceSource): ShoalError {
  const advice = 'name another source, or find the model anew: "shoal rm" it first'
  return new ShoalError('SOURCE', `${name} gives other bytes than were hashed. It has changed: ${advice}.`)
}

function unhashed({ called }: NamedModel): ShoalError {
  const why = 'nobody has hashed it, so that only its source can give it, and nobody says where that is'
  return new ShoalError('NO_SOURCE', `${called} can't be fetched: ${why}. Name it by its address.`)
}
