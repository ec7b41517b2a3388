/** Piece streams of this node: one per peer and model, whoever opened it; each gives and takes. */
import { type Clock, Limits, ShoalError } from '../../common/index.ts'
import { NetError, type PieceHost, type PieceMessage, type PieceStream, WireError } from '../../net/index.ts'
import type { PieceSource, StoredModel } from '../contract.ts'
import { MAX_MANIFEST_BYTES, type Manifest, readManifest } from '../manifest.ts'
import { Documents, fetchDocument } from './documents.ts'
import { firstMessage, refusal } from './handshake.ts'
import { PieceLink } from './link.ts'
import type { TransferInit } from './progress.ts'
import { Seeder, type SeederInit } from './seeder.ts'
import { PeerSource } from './source.ts'
import { TokenBucket } from './token-bucket.ts'
import { Transfer } from './transfer.ts'

/** A listing is some lines of text; this many bytes before anything has looked at them. */
const MAX_LISTING_BYTES = 256 * 1024
/** Models that one peer may have streams for, and peers in all: each has up to 4 MiB of its pieces in memory. */
const MAX_LINKS_PER_PEER = 32
const MAX_LINKS = 256
/** Who gave a bad piece: its disk, its memory or its will is bad, and it may be mended. */
const BAN_MS = 60 * 60_000
/** When both ends open a stream at once, for the one that stays. */
const CROSSING_MS = 10_000

export interface ExchangeComponents {
  readonly host: PieceHost
  readonly clock: Clock
  readonly random: () => number
  /** What this node has, and gives to others; also while it is being fetched. Undefined, or throws: it has none of it. */
  readonly models: (id: string) => StoredModel | undefined | Promise<StoredModel | undefined>
  /** Its bytes. */
  readonly listing?: (id: string) => Promise<Uint8Array | undefined>
}

/**
 * @example
 * ```ts
 * const exchange = new Exchange({ host, clock, random, models: (id) => store.get(id) })
 * host.serve({ ..., pieces: (stream) => exchange.serve(stream) })
 * await exchange.open(peer, addresses, id)
 * await exchange.fetch(model, { parts }, { sources: [http], signal })
 * ```
 */
export class Exchange {
  readonly seeder: Seeder
  /** What all transfers fetch, from whomever, in bytes per second. */
  readonly downloads: TokenBucket
  readonly #components: ExchangeComponents
  /** By model and peer. */
  readonly #links = new Map<string, { link: PieceLink; source: PeerSource; isOurs: boolean }>()
  /** Streams of ours that are being opened. */
  readonly #opening = new Map<string, { source: Promise<PeerSource>; controller: AbortController }>()
  readonly #transfers = new Map<string, Set<Transfer>>()
  readonly #arrivals = new Set<(key: string, source: PeerSource) => void>()
  readonly #banned: Limits
  readonly #documents: Documents

  constructor(components: ExchangeComponents, init: SeederInit = {}) {
    this.#components = components
    this.seeder = new Seeder(components, init)
    this.downloads = new TokenBucket(components.clock, Number.POSITIVE_INFINITY)
    this.#banned = new Limits(components.clock, { burst: 1, everyMs: BAN_MS })
    this.#documents = new Documents({
      clock: components.clock,
      manifest: async (id) => (await this.#find(id))?.manifest.bytes,
      listing: async (id) => components.listing?.(id),
      pace: (bytes) => this.seeder.pace(bytes)
    })
  }

  /** Peers that pieces of the model may come from. */
  peersOf(id: string): string[] {
    return [...this.#links.values()]
      .filter(({ link }) => link.model.manifest.id === id)
      .map(({ link }) => link.peer)
  }

  /** For Handlers.pieces. */
  serve(stream: PieceStream): void {
    const begin = async (message: PieceMessage | { type: 'chunk' }): Promise<PieceLink | undefined> => {
      if (message.type === 'open') return this.#accept(stream, message)
      if (message.type !== 'get')
        throw new WireError('INVALID', `a stream begins with ${message.type}`, 'type')
      void this.#documents.give(stream, message.model, message.document).catch((error) => stream.abort(error))
      return undefined
    }
    firstMessage(stream, begin).catch((error) => stream.abort(error))
  }

  /**
   * The source that the peer is for this model; one there is already, if so. Throws a ShoalError REFUSED when the peer
   * does not have the model, NetError when it can't be reached.
   */
  async open(peer: string, addresses: string[], id: string, signal?: AbortSignal): Promise<PeerSource> {
    signal?.throwIfAborted()
    const key = keyOf(id, peer)
    const known = this.#links.get(key)?.source ?? this.#opening.get(key)?.source
    if (known !== undefined) return known
    this.#checkPeer(peer)
    const controller = new AbortController()
    const either = signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal])
    const source = this.#open(peer, addresses, id, either)
    this.#opening.set(key, { source, controller })
    try {
      return await source
    } catch (error) {
      signal?.throwIfAborted()
      // The peer opened one at the same time, and its own is kept.
      const isCrossed = controller.signal.aborted || (error as ShoalError).code === 'CROSSED'
      return (
        this.#links.get(key)?.source ?? (isCrossed ? await this.#arrival(key, signal) : Promise.reject(error))
      )
    } finally {
      if (this.#opening.get(key)?.controller === controller) this.#opening.delete(key)
    }
  }

  /** From a peer, checked against its id. Throws a ShoalError MANIFEST for another one, REFUSED where it has none. */
  async fetchManifest(
    peer: string,
    addresses: string[],
    id: string,
    signal?: AbortSignal
  ): Promise<Manifest> {
    const stream = await this.#components.host.openPieces(peer, addresses, signal)
    const manifest = readManifest(await fetchDocument(stream, id, 'manifest', MAX_MANIFEST_BYTES, signal))
    if (manifest.id === id) return manifest
    throw new ShoalError(
      'MANIFEST',
      `${peer} gave the manifest of another model than ${id}. Ask another peer.`
    )
  }

  /** Bytes that nobody has checked. */
  async fetchListing(
    peer: string,
    addresses: string[],
    id: string,
    signal?: AbortSignal
  ): Promise<Uint8Array> {
    const stream = await this.#components.host.openPieces(peer, addresses, signal)
    return fetchDocument(stream, id, 'listing', MAX_LISTING_BYTES, signal)
  }

  /**
   * Fetches what is missing of some parts from all peers that there are streams with, those that come later, and
   * `sources`, which stay open. Resolves and rejects as Transfer.run.
   */
  async fetch(
    model: StoredModel,
    init: TransferInit,
    { sources = [], signal }: { sources?: readonly PieceSource[]; signal?: AbortSignal | undefined } = {}
  ): Promise<void> {
    const { id } = model.manifest
    const onBadSource = (source: PieceSource): void => {
      if (source.kind === 'peer') this.#ban(source.name)
      init.onBadSource?.(source)
    }
    const transfer = new Transfer(
      { ...this.#components, model, bucket: this.downloads },
      { ...init, onBadSource }
    )
    const transfers = this.#transfers.get(id) ?? new Set()
    this.#transfers.set(id, transfers.add(transfer))
    for (const { link, source } of this.#links.values())
      if (link.model.manifest.id === id) transfer.add(source)
    for (const source of sources) transfer.add(source)
    try {
      await transfer.run(signal)
    } finally {
      transfers.delete(transfer)
      if (transfers.size === 0) this.#transfers.delete(id)
    }
  }

  /** Ends a model's streams, unless pieces of it come in. */
  async close(id: string): Promise<void> {
    if (this.#transfers.has(id)) return
    const links = [...this.#links.values()].filter(({ link }) => link.model.manifest.id === id)
    await Promise.all(links.map(({ link }) => link.stream.close()))
  }

  /** Ends all streams. */
  async stop(): Promise<void> {
    for (const { controller } of this.#opening.values()) controller.abort(stopped())
    await Promise.all([...this.#links.values()].map(({ link }) => link.stream.close()))
  }

  async #open(peer: string, addresses: string[], id: string, signal: AbortSignal): Promise<PeerSource> {
    const model = await this.#modelOf(id)
    const stream = await this.#components.host.openPieces(peer, addresses, signal)
    const told = model.bitfield
    stream.send({ type: 'open', model: model.manifest.id, pieces: told })
    let source: PeerSource | undefined
    const begin = (message: PieceMessage | { type: 'chunk' }): PieceLink => {
      if (message.type === 'refused') {
        throw message.code === 'crossed' ? new ShoalError('CROSSED', message.message) : refusal(peer, message)
      }
      if (message.type !== 'opened') throw new WireError('INVALID', `${message.type} is no answer`, 'type')
      const entry = this.#link(stream, model, { told, theirs: message.pieces }, true)
      source = entry.source
      return entry.link
    }
    await firstMessage(stream, begin, signal)
    return source as unknown as PeerSource
  }

  async #accept(
    stream: PieceStream,
    { model: id, pieces }: Extract<PieceMessage, { type: 'open' }>
  ): Promise<PieceLink | undefined> {
    const { peer } = stream
    const refuse = (code: string, message: string): undefined => {
      stream.send({ type: 'refused', code, message })
      void stream.close()
      return undefined
    }
    const model = await this.#find(id)
    if (model?.manifest.pieces === undefined) return refuse('model', 'this node has no pieces of it')
    const key = keyOf(id, peer)
    const known = this.#links.get(key)
    const isOurs = known?.isOurs || this.#opening.has(key)
    // Both opened one at once: the one by the peer with the smaller id stays.
    if (isOurs && this.#components.host.peerId < peer)
      return refuse('crossed', 'this node opens a stream itself')
    const links = [...this.#links.values()]
    const isFull =
      links.length >= MAX_LINKS || links.filter(({ link }) => link.peer === peer).length >= MAX_LINKS_PER_PEER
    if (this.#banned.waitMs(peer) > 0) return refuse('banned', 'it gave this node a bad piece')
    if (isFull && known === undefined) return refuse('busy', 'this node exchanges pieces with many others')
    const told = model.bitfield
    stream.send({ type: 'opened', pieces: told })
    const entry = this.#link(stream, model, { told, theirs: pieces }, false)
    this.#opening.get(key)?.controller.abort(new ShoalError('CROSSED', 'the other side opened one'))
    return entry.link
  }

  /** Takes the place of a stream with the same peer: its other end gave that up. */
  #link(
    stream: PieceStream,
    model: StoredModel,
    pieces: { told: Uint8Array; theirs: Uint8Array },
    isOurs: boolean
  ): { link: PieceLink; source: PeerSource } {
    const key = keyOf(model.manifest.id, stream.peer)
    const events = {
      onRequests: () => this.seeder.requested(),
      onInterest: () => this.seeder.choose(),
      onEnd: (ended: PieceLink) => {
        this.seeder.remove(ended)
        if (this.#links.get(key)?.link === ended) this.#links.delete(key)
      }
    }
    const link = new PieceLink({ stream, model, clock: this.#components.clock, events }, pieces)
    const before = this.#links.get(key)
    before?.link.stream.abort(new NetError('CLOSED', 'another stream has taken its place'))
    const entry = { link, source: new PeerSource(link), isOurs }
    this.#links.set(key, entry)
    this.seeder.add(link)
    for (const transfer of this.#transfers.get(model.manifest.id) ?? []) transfer.add(entry.source)
    for (const arrived of this.#arrivals) arrived(key, entry.source)
    return entry
  }

  #arrival(key: string, signal?: AbortSignal): Promise<PeerSource> {
    const { promise, resolve, reject } = Promise.withResolvers<PeerSource>()
    const arrived = (arrivedKey: string, source: PeerSource): void => {
      if (arrivedKey === key) resolve(source)
    }
    this.#arrivals.add(arrived)
    const abort = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    const cancel = this.#components.clock.after(CROSSING_MS, () =>
      reject(new NetError('DIAL_FAILED', 'the peer opened a stream as well, and it did not come'))
    )
    return promise.finally(() => {
      cancel()
      this.#arrivals.delete(arrived)
      signal?.removeEventListener('abort', abort)
    })
  }

  /** Undefined also where the store can't give it. */
  async #find(id: string): Promise<StoredModel | undefined> {
    try {
      return await this.#components.models(id)
    } catch {
      return undefined
    }
  }

  async #modelOf(id: string): Promise<StoredModel> {
    const model = await this.#find(id)
    if (model?.manifest.pieces !== undefined) return model
    throw new ShoalError(
      'MODEL',
      `${id} is not in the store, or was never hashed: its pieces can't be exchanged.`
    )
  }

  #checkPeer(peer: string): void {
    if (this.#banned.waitMs(peer) === 0) return
    throw new ShoalError('BANNED', `${peer} gave a bad piece: for an hour it is not asked.`)
  }

  #ban(peer: string): void {
    this.#banned.take(peer)
    for (const { link } of [...this.#links.values()]) {
      if (link.peer === peer) link.stream.abort(new NetError('REFUSED', `${peer} gave a bad piece`))
    }
  }
}

function keyOf(id: string, peer: string): string {
  return `${id} ${peer}`
}

function stopped(): NetError {
  return new NetError('STOPPED', 'this node is stopping')
}
