/** The models that this node knows, by what people call them, and how their blocks come here and go to others. */
import { basename } from 'node:path'
import { type Clock, ShoalError } from '../common/index.ts'
import {
  describe,
  Exchange,
  fetchPieces,
  GgufPieces,
  HttpClient,
  type HttpInit,
  HttpPieces,
  hubNameText,
  type Listing,
  locate,
  locateListed,
  type Manifest,
  type Model,
  type ModelName,
  type ModelSummary,
  makeListing,
  modelOf,
  openModel,
  openRemote,
  type PartName,
  type PieceSource,
  readListing,
  remoteManifest,
  resolveName,
  Store,
  type StoredModel,
  type TransferProgress,
  WholeFile
} from '../models/index.ts'
import type { PeerAddress, PieceHost, PieceStream } from '../net/index.ts'

/** How often peers are looked for that have pieces, while some are missing. */
const LOOK_MS = 2_000
/** Asked for pieces of one model at once. */
const MAX_PEERS = 16
/** Asked for a manifest before it is given up. */
const MANIFEST_MS = 60_000
/** Of one peer. */
const ASK_MS = 10_000

/** A model that somebody has named: what it is, and where its bytes are. */
export interface NamedModel extends Model {
  /** As it was named, in full. */
  readonly called: string
  /** All of it, in GGUF files on this machine. */
  readonly files?: readonly string[] | undefined
}

export interface LibraryComponents {
  readonly host: PieceHost
  readonly clock: Clock
  readonly random: () => number
  /** Who may have pieces of a model. The first question begins a search: ask again. */
  readonly suppliers: (id: string) => readonly PeerAddress[]
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
  /** Where it is remembered what large files hash to. */
  readonly cache?: string | undefined
  readonly http?: HttpInit | undefined
  readonly report?: ((message: string) => void) | undefined
}

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Partial<TransferProgress>) => void) | undefined
}

export class Library {
  readonly exchange: Exchange
  readonly #components: LibraryComponents
  readonly #init: LibraryInit
  readonly #http: HttpClient
  /** Files on this machine: pieces are given out of them, too. */
  readonly #wholes = new Map<string, WholeFile>()
  #store: Promise<Store> | undefined
  #seeds: readonly string[] = []

  constructor(components: LibraryComponents, init: LibraryInit) {
    const { host, clock, random } = components
    this.#components = components
    this.#init = init
    this.#http = new HttpClient(init.http)
    this.exchange = new Exchange(
      {
        ...{ host, clock, random },
        models: (id) => this.#given(id),
        listing: async (id) => (await this.#opened())?.listing(id)
      },
      { bytesPerSecond: init.uploadBytesPerSecond }
    )
  }

  /** Opened when it is first needed: who only asks about a file keeps nothing. */
  get store(): Promise<Store> {
    const { folder, quotaBytes: quota, report } = this.#init
    this.#store ??= Store.open({ folder, quota, report })
    return this.#store
  }

  #opened(): Promise<Store> | undefined {
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
    const seeds = [...new Set([...this.#wholes.keys(), ...(await this.#givable(models))])]
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
          : this.#remote(name.name, hubNameText(name.from.hub), options)
      default:
        return this.#remote(calledOf(name), text.trim(), options)
    }
  }

  async #file(path: string, { signal, onProgress }: FetchOptions, called = path): Promise<NamedModel> {
    const { cache } = this.#init
    const hashing =
      onProgress &&
      (({ bytes, total }: { bytes: number; total: number }) => {
        onProgress({ bytes, totalBytes: total })
      })
    const model = await openModel(path, { signal, cache, onProgress: hashing })
    const known = this.#wholes.get(model.id)
    if (known === undefined) this.#wholes.set(model.id, new WholeFile(model))
    else await model.close() // it stays open: others may be reading pieces of it
    return { ...(known?.model ?? model), called }
  }

  /** By the listing of one that was named so before, else from where the name says. */
  async #remote(called: string, place: string, { signal }: FetchOptions): Promise<NamedModel> {
    const known = await this.#listed(called)
    if (known !== undefined) return known
    const urls = await locate(this.#http, place, signal)
    const remote = await openRemote(this.#http, urls, signal)
    const manifest = await remoteManifest(this.#http, remote, { signal })
    const parts = remote.files.map(({ size }, index) => ({ url: urls[index] as string, bytes: size }))
    const licence = remote.gguf.metadata.get('general.license')?.value
    const listing = await makeListing({
      ...{ model: manifest.id, name: called, sources: [{ parts }], codecs: [] },
      licence: typeof licence === 'string' ? licence.slice(0, 64) : ''
    })
    await (await this.store).add(manifest, listing)
    return this.#described(manifest, called)
  }

  async #listed(called: string): Promise<NamedModel | undefined> {
    const store = await this.store
    for (const { id } of await store.list()) {
      if ((await this.listing(id))?.name === called) {
        return this.#described((await store.get(id)).manifest, called)
      }
    }
    return undefined
  }

  async #byId(id: string, { signal }: FetchOptions): Promise<NamedModel> {
    const whole = this.#wholes.get(id)
    if (whole !== undefined) return { ...whole.model, called: id }
    const store = await this.store
    const isHere = (await store.list()).some((model) => model.id === id)
    if (!isHere) await store.add(await this.#manifestFromPeers(id, signal))
    const { manifest } = await store.get(id)
    const listing = await this.listing(id)
    return this.#described(manifest, listing?.name ?? id)
  }

  async #manifestFromPeers(id: string, signal: AbortSignal | undefined): Promise<Manifest> {
    const deadline = this.#components.clock.now() + MANIFEST_MS
    const asked = new Set<string>()
    for (;;) {
      for (const { peer, addresses } of this.#components.suppliers(id)) {
        if (asked.has(peer)) continue
        asked.add(peer)
        const limit = withLimit(signal, ASK_MS)
        const manifest = await this.exchange.fetchManifest(peer, addresses, id, limit).catch(() => undefined)
        signal?.throwIfAborted()
        if (manifest !== undefined) return manifest
      }
      if (this.#components.clock.now() > deadline) {
        const tried =
          asked.size === 0 ? 'nobody who has it was found' : `${asked.size} peers had nothing of it`
        throw new ShoalError('UNAVAILABLE', `There is no model ${id.slice(0, 12)} here, and ${tried}.`)
      }
      await this.#pause(signal)
    }
  }

  async #described(manifest: Manifest, called: string): Promise<NamedModel> {
    const unread = async (): Promise<never> => {
      throw new Error('its tensors are in the store')
    }
    const name = basename(called)
    return { ...describe(manifest, await modelOf(manifest, unread), name), called }
  }

  /** What is said of a model; undefined where nobody has said anything that can be read. */
  async listing(id: string): Promise<Listing | undefined> {
    const bytes = await (await this.store).listing(id)
    return bytes === undefined ? undefined : readListing(bytes).catch(() => undefined)
  }

  /**
   * Has these parts in the store: from files on this machine, from peers and from where the model was listed, at once.
   * Throws what a Transfer throws, or a SourceError.
   */
  async fetch(model: NamedModel, parts: ReadonlySet<PartName>, options: FetchOptions = {}): Promise<void> {
    const { signal, onProgress } = options
    const store = await this.store
    await store.add(model.manifest)
    const stored = await store.get(model.id, { signal })
    if (stored.missing(parts).length === 0) return
    const lease = await store.lease(model.id, parts)
    const source = await this.#source(model, stored, signal)
    try {
      if (model.manifest.pieces === undefined) {
        if (source === undefined) throw this.#nowhere(model)
        const report =
          onProgress &&
          (({ bytes, total }: { bytes: number; total: number }) => {
            onProgress({ bytes, totalBytes: total })
          })
        await fetchPieces(stored, source, parts, { signal, onProgress: report })
      } else {
        await this.#transfer(stored, parts, source, options)
      }
    } finally {
      lease.release()
      await source?.close()
    }
    await this.look()
  }

  async #transfer(
    stored: StoredModel,
    parts: ReadonlySet<PartName>,
    source: PieceSource | undefined,
    { signal, onProgress }: FetchOptions
  ): Promise<void> {
    const done = new AbortController()
    // What is on this machine needs nobody else.
    if (source?.kind !== 'file') void this.#seek(stored.manifest.id, done.signal)
    const sources = source === undefined ? [] : [source]
    try {
      await this.exchange.fetch(stored, { parts, onProgress }, { sources, signal })
    } finally {
      done.abort()
    }
  }

  /** Streams with peers that have the model; they take part in its transfers as they come. */
  async #seek(id: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const linked = this.exchange.peersOf(id)
      const others = this.#components.suppliers(id).filter(({ peer }) => !linked.includes(peer))
      for (const { peer, addresses } of others.slice(0, MAX_PEERS - linked.length)) {
        void this.exchange.open(peer, [...addresses], id, withLimit(signal, ASK_MS)).catch(() => {}) // others may
      }
      await this.#pause(signal).catch(() => {})
    }
  }

  /** Undefined: only peers may have it. */
  async #source(
    model: NamedModel,
    stored: StoredModel,
    signal: AbortSignal | undefined
  ): Promise<PieceSource | undefined> {
    const whole = this.#wholes.get(model.id)
    if (whole !== undefined)
      return new GgufPieces(await openModel(whole.model.path, { cache: this.#init.cache, signal }))
    const listing = await this.listing(model.id)
    for (const source of listing?.sources ?? []) {
      try {
        const remote = await openRemote(this.#http, await locateListed(this.#http, source, signal), signal)
        return new HttpPieces(stored.manifest, remote)
      } catch (error) {
        signal?.throwIfAborted()
        this.#init.report?.(`${model.called}: ${(error as Error).message}`)
      }
    }
    return undefined
  }

  #nowhere({ called }: NamedModel): ShoalError {
    return new ShoalError(
      'UNAVAILABLE',
      `${called} has not been hashed by anybody, and its source does not answer.`
    )
  }

  async #given(id: string): Promise<StoredModel | undefined> {
    const whole = this.#wholes.get(id)
    const store = await this.#opened()
    const isStored = store !== undefined && (await store.list()).some((model) => model.id === id)
    return whole ?? (isStored ? store.get(id) : undefined)
  }

  async #pause(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = this.#components.clock.after(LOOK_MS, resolve)
    signal?.addEventListener('abort', () => resolve(), { once: true })
    await promise
    cancel()
    signal?.throwIfAborted()
  }

  async stop(): Promise<void> {
    await this.exchange.stop()
    for (const whole of this.#wholes.values()) await whole.close()
    await (await this.#opened()?.catch(() => undefined))?.close()
  }
}

function calledOf(name: Exclude<ModelName, { kind: 'path' | 'id' | 'catalogue' }>): string {
  return name.kind === 'hub' ? hubNameText(name.hub) : name.url
}

function withLimit(signal: AbortSignal | undefined, ms: number): AbortSignal {
  const limit = AbortSignal.timeout(ms)
  return signal === undefined ? limit : AbortSignal.any([signal, limit])
}
