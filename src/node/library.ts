/** The models that this node knows, by what people call them, and how their blocks come here and go to others. */
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Clock, ShoalError } from '../common/index.ts'
import {
  describe,
  Exchange,
  fetchPieces,
  GgufPieces,
  type HttpInit,
  hubNameText,
  type Listing,
  type Manifest,
  type Model,
  type ModelName,
  type ModelOnDisk,
  type ModelSummary,
  makeListing,
  modelOf,
  openModel,
  type PartName,
  type PieceSource,
  readListing,
  resolveName,
  SourceError,
  Store,
  type StoredModel,
  type TransferProgress,
  WholeFile
} from '../models/index.ts'
import type { PeerAddress, PieceHost, PieceStream } from '../net/index.ts'
import { hashStored, relisted } from './hash-stored.ts'
import { searchManifest } from './manifest-search.ts'
import { ModelNames } from './model-names.ts'
import { Remotes } from './remotes.ts'
import { Suppliers } from './suppliers.ts'
import { type Vocabulary, writeVocabulary } from './vocabulary.ts'

/** A model that somebody has named: what it is, and where its bytes are. */
export interface NamedModel extends Model {
  /** As it was named, in full. */
  readonly called: string
  /** All of it, in GGUF files on this machine. */
  readonly files?: readonly string[] | undefined
  /** Where whoever named it said that it is: `hf:...` or an address. */
  readonly place?: string | undefined
}

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

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Partial<TransferProgress>) => void) | undefined
}

/** All of a model in files of this machine. */
interface Shelved {
  readonly whole: WholeFile
  /** By which it is seen that they have changed. */
  readonly version: string
}

export class Library {
  readonly exchange: Exchange
  readonly names: ModelNames
  readonly #components: LibraryComponents
  readonly #init: LibraryInit
  readonly #remotes: Remotes
  readonly #suppliers: Suppliers
  /** By id: pieces are given out of them, too. */
  readonly #files = new Map<string, Shelved>()
  /** By what they are called: who has found one keeps to it. */
  readonly #found = new Map<string, NamedModel>()
  #store: Promise<Store> | undefined
  #seeds: readonly string[] = []

  constructor(components: LibraryComponents, init: LibraryInit) {
    const { host, clock, random } = components
    this.#components = components
    this.#init = init
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
  }

  /** Opened when it is first needed: who only asks about a file keeps nothing. */
  get store(): Promise<Store> {
    const { folder, quotaBytes: quota, report } = this.#init
    this.#store ??= Store.open({ folder, quota, report })
    return this.#store
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
    const all = [...new Set([...this.#files.keys(), ...(await this.#givable(models))])]
    const seeds = all.filter((id) => this.#mayGive(id))
    const isSame = seeds.length === this.#seeds.length && seeds.every((id) => this.#seeds.includes(id))
    this.#seeds = seeds
    if (!isSame) this.#components.onSeeds?.()
    return models
  }

  /** Those whose pieces whoever gets them can check. */
  async #givable(models: readonly ModelSummary[]): Promise<string[]> {
    const store = await this.store
    const there = models.filter(({ bytesThere }) => bytesThere > 0)
    const stored = await Promise.all(there.map(({ id }) => store.get(id)))
    return stored.flatMap(({ manifest }) => (manifest.pieces === undefined ? [] : [manifest.id]))
  }

  #mayGive(id: string): boolean {
    return this.#init.gives?.(id) ?? true
  }

  async #given(id: string): Promise<StoredModel | undefined> {
    if (!this.#mayGive(id)) return undefined
    return this.#files.get(id)?.whole ?? (await this.#store)?.get(id)
  }

  /**
   * What a name means. Files are hashed, remote headers read, peers asked for an id's manifest. Throws a ShoalError
   * NAME, MODEL_FILE, MANIFEST or UNAVAILABLE, a GgufError, or a SourceError.
   */
  async find(text: string, options: FetchOptions = {}): Promise<NamedModel> {
    const name = resolveName(text)
    switch (name.kind) {
      case 'path':
        return this.#file(name.path, options)
      case 'id':
        return this.#byId(name.id, options)
      case 'catalogue':
        return 'path' in name.from
          ? this.#file(name.from.path, options, name.name)
          : this.#remote(name.name, hubNameText(name.from.hub), options).catch((error) =>
              Promise.reject(ofCatalogue(name.name, error))
            )
      default:
        return this.#remote(calledOf(name), calledOf(name), options)
    }
  }

  async #file(path: string, options: FetchOptions, called = path): Promise<NamedModel> {
    for (const { whole, version } of this.#files.values()) {
      const { model } = whole
      if (model.path === path && (await versionOf(model.files)) === version) return { ...model, called }
    }
    const { cache } = this.#init
    const model = await openModel(path, { cache, signal: options.signal, onProgress: inBytes(options) })
    const known = this.#files.get(model.id)
    if (known === undefined) {
      const version = (await versionOf(model.files)) ?? ''
      this.#files.set(model.id, { whole: new WholeFile(model), version })
    } else {
      await model.close() // the other stays open: peers may be reading pieces of it
    }
    return { ...model, called }
  }

  /** What was found under this name before, and has hashes; else what its server says now. */
  async #remote(called: string, place: string, { signal }: FetchOptions): Promise<NamedModel> {
    const found = this.#found.get(called)
    if (found !== undefined) return found
    const store = await this.store
    const id = await this.names.idOf(called)
    const known = id === undefined ? undefined : await store.get(id).catch(() => undefined)
    let manifest = known?.manifest
    if (known === undefined) {
      const { manifest: remote, listing } = await this.#listedBy(called, place, signal)
      await store.add(remote, listing)
      manifest = remote
    } else if (known.manifest.pieces === undefined) {
      const published = await this.#remotes.published(place, signal)
      if (published !== undefined)
        await store.add(published, await relisted(store, known.manifest.id, published.id))
      manifest = published ?? known.manifest
    }
    await this.names.set(called, (manifest as Manifest).id)
    const model = { ...(await described(manifest as Manifest, called)), place }
    this.#found.set(called, model)
    return model
  }

  async #listedBy(
    called: string,
    place: string,
    signal: AbortSignal | undefined
  ): Promise<{ manifest: Manifest; listing: Uint8Array }> {
    const { manifest, model } = await this.#remotes.find(place, signal)
    const parts = model.files.map(({ size }, index) => ({ url: model.urls[index] as string, bytes: size }))
    const licence = licenceOf(manifest)
    const fields = { model: manifest.id, name: called, licence, sources: [{ parts }], codecs: [] }
    return { manifest, listing: await makeListing(fields) }
  }

  async #byId(id: string, { signal }: FetchOptions): Promise<NamedModel> {
    const file = this.#files.get(id)
    if (file !== undefined) return { ...file.whole.model, called: id }
    const store = await this.store
    let model = await store.get(id, { signal }).catch(none)
    if (model === undefined) {
      const components = { ...this.#components, exchange: this.exchange }
      const { manifest, listing } = await searchManifest(components, id, signal)
      await store.add(manifest, listing)
      model = await store.get(id, { signal })
    }
    return described(model.manifest, (await this.listing(id))?.name ?? id, id)
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
    const stored = await store.get(model.id, { signal })
    if (stored.missing(parts).length === 0) return
    const lease = await store.lease(model.id, parts)
    try {
      if (model.manifest.pieces === undefined) await this.#fetchUnhashed(model, stored, parts, options)
      else await this.#transfer(model, stored, parts, options)
    } finally {
      lease.release()
    }
    await this.look()
  }

  async #fetchUnhashed(
    model: NamedModel,
    stored: ModelOnDisk,
    parts: ReadonlySet<PartName>,
    options: FetchOptions
  ): Promise<void> {
    const source = await this.#source(model, () => {})
    if (source === undefined) {
      const why = 'nobody has hashed it, so that only its source can give it, and nobody says where that is'
      throw new ShoalError('NO_SOURCE', `${model.called} can't be fetched: ${why}. Name it by its address.`)
    }
    const before = bytesOf(stored, parts)
    const onProgress = ({ bytes }: { bytes: number }): void =>
      options.onProgress?.({
        ...{ bytes: before.there + bytes, totalBytes: before.all, peers: 0 },
        fetched: { peer: 0, http: bytes, file: 0 }
      })
    try {
      await fetchPieces(stored, source, parts, { signal: options.signal, onProgress })
    } finally {
      await source.close()
    }
  }

  async #transfer(
    model: NamedModel,
    stored: StoredModel,
    parts: ReadonlySet<PartName>,
    { signal, onProgress }: FetchOptions
  ): Promise<void> {
    const end = new AbortController()
    const either = signal === undefined ? end.signal : AbortSignal.any([signal, end.signal])
    const source = await this.#source(model, (error) => {
      // With peers it goes on, else nobody is left.
      if (this.#suppliers.of(model.id) > 0) this.#init.report?.(error.message)
      else end.abort(error)
    })
    try {
      if (source?.kind !== 'file') {
        const hasSource = source !== undefined
        await this.#suppliers.seek(model.id, {
          hasSource,
          signal: either,
          onNobody: (error) => end.abort(error)
        })
      }
      const sources = source === undefined ? [] : [source]
      await this.exchange.fetch(stored, { parts, onProgress }, { sources, signal: either })
    } finally {
      end.abort()
      if (source?.kind !== 'file') await source?.close()
    }
  }

  /** Undefined: only peers may have it. A file's stays open. */
  async #source(model: NamedModel, onFailed: (error: Error) => void): Promise<PieceSource | undefined> {
    const file = this.#files.get(model.id)
    if (file !== undefined) return new GgufPieces(file.whole.model)
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
    const { called, place } = model
    const manifest = await hashStored(store, model.id, {
      signal: options.signal,
      onProgress: inBytes(options)
    })
    await this.names.set(called, manifest.id)
    const found = { ...(await described(manifest, called)), place }
    this.#found.set(called, found)
    await this.look()
    return found
  }

  /** To talk to a model that others compute; what is missing of its tokenizer is fetched. */
  async vocabulary(model: NamedModel, options: FetchOptions = {}): Promise<Vocabulary> {
    if (model.files !== undefined) return { gguf: model.gguf, files: model.files }
    await this.fetch(model, new Set(['tokenizer']), options)
    return writeVocabulary(await (await this.store).get(model.id, options))
  }

  async stop(): Promise<void> {
    await this.exchange.stop()
    for (const { whole } of this.#files.values()) await whole.close()
    await (await this.#store?.catch(() => undefined))?.close()
  }
}

function calledOf(name: Exclude<ModelName, { kind: 'path' | 'id' | 'catalogue' }>): string {
  return name.kind === 'hub' ? hubNameText(name.hub) : name.url
}

async function described(manifest: Manifest, name: string, called = name): Promise<NamedModel> {
  const unread = async (): Promise<never> => {
    throw new Error('its tensors are in the store')
  }
  return { ...describe(manifest, await modelOf(manifest, unread), basename(name)), called }
}

/** As whoever made the file says; '' where nobody has. */
export function licenceOf({ metadata }: Manifest): string {
  const licence = metadata.get('general.license')?.value
  return typeof licence === 'string' ? licence.replace(/\p{C}/gu, '').slice(0, 64) : ''
}

function bytesOf(model: ModelOnDisk, parts: ReadonlySet<PartName>): { all: number; there: number } {
  const { table } = model.layout
  const bytes = (indices: readonly number[]): number =>
    indices.reduce((sum, index) => sum + table.at(index).byteLength, 0)
  const all = bytes(table.of(model.manifest.items.filter(({ part }) => parts.has(part))))
  return { all, there: all - bytes(model.missing(parts)) }
}

function inBytes({ onProgress }: FetchOptions): (progress: { bytes: number; total: number }) => void {
  return ({ bytes, total }) => onProgress?.({ bytes, totalBytes: total })
}

/** Undefined where one of them is gone. */
async function versionOf(files: readonly string[]): Promise<string | undefined> {
  try {
    const stats = await Promise.all(files.map((file) => stat(file, { bigint: true })))
    return stats.map(({ size, ino, mtimeNs }) => [size, ino, mtimeNs].join(' ')).join('\n')
  } catch {
    return undefined
  }
}

function none(error: Error): undefined {
  if ((error as ShoalError).code !== 'MODEL') throw error
  return undefined
}

/** What to do about a name that is good, and a server that is not. */
function ofCatalogue(called: string, error: Error): Error {
  if (!(error instanceof SourceError)) return error
  const advice = error.isPassing
    ? ' Try again later, name a mirror of the hub with HF_ENDPOINT, or name the model by its id if another node has it.'
    : ''
  return new ShoalError(
    error.code,
    `${called} can't be found where it should be. ${error.message}${advice}`,
    {
      cause: error
    }
  )
}
