/** Fetches the pieces of some parts from sources that come and go. */
import { type Clock, ShoalError } from '../../common/index.ts'
import type { PieceReceived, PieceSource, StoredModel } from '../contract.ts'
import { itemsOf, pieceTableOf } from '../manifest.ts'
import type { PieceTable } from '../pieces.ts'
import { Picker } from './picker.ts'
import {
  Rate,
  type TransferComponents,
  type TransferInit,
  type TransferProgress,
  unavailable
} from './progress.ts'
import { type Fetch, Supplier } from './supplier.ts'
import type { TokenBucket } from './token-bucket.ts'

/** Pieces requested or being written, together: 16 of the largest, 4,096 of the smallest. */
const MAX_BYTES_IN_FLIGHT = 64 * 1024 * 1024
/** How often slow sources are looked for, and progress is told. */
const TICK_MS = 100
/** The end: a piece is asked of another source as well when that one would have given it twice by now. */
const LATE = 2
const MOST_ASKED = 3
const LEAST_LATE_MS = 50
/** A rate from peers that lets remote files rest: 4 GB in an hour. */
const ENOUGH_BYTES_PER_SECOND = 1024 * 1024
const RATE_WINDOW_MS = 3_000
const DEADLINE_MS = 60_000
const NOT_NEEDED = new ShoalError('STOPPED', 'not needed any more')

/**
 * Rarest first, requests pipelined, and at the end the same piece from several: as BitTorrent does (B. Cohen, 2003).
 * Each piece is checked before it is kept; who gives a bad one is dropped.
 *
 * @example
 * ```ts
 * const transfer = new Transfer({ model, clock, random }, { parts })
 * transfer.add(source)
 * await transfer.run(signal)
 * ```
 */
export class Transfer {
  readonly #model: StoredModel
  readonly #table: PieceTable
  readonly #clock: Clock
  readonly #init: TransferInit
  readonly #bucket: TokenBucket | undefined
  readonly #picker: Picker
  /** Not here yet. */
  readonly #missing: Set<number>
  readonly #suppliers = new Map<PieceSource, Supplier>()
  readonly #askers = new Map<number, Set<Fetch>>()
  /** Arrived, being checked and written. */
  readonly #writing = new Set<number>()
  readonly #writes = new Set<Promise<void>>()
  readonly #done = Promise.withResolvers<void>()
  readonly #fetched = { peer: 0, http: 0, file: 0 }
  readonly #total: { pieces: number; bytes: number }
  readonly #rate = new Rate(RATE_WINDOW_MS)
  readonly #peerRate = new Rate(RATE_WINDOW_MS)
  #bytesMissing = 0
  #bytesInFlight = 0
  #lastPieceAt: number
  #peersSince: number | undefined
  #isRunning = false
  #isPumping = false
  #told = -1

  constructor({ model, clock, random, bucket }: TransferComponents, init: TransferInit) {
    this.#bucket = bucket
    this.#model = model
    this.#table = pieceTableOf(model.manifest)
    this.#clock = clock
    this.#init = init
    this.#lastPieceAt = clock.now()
    this.#picker = new Picker(random)
    this.#missing = new Set(model.missing(init.parts))
    const wanted = this.#table.of(itemsOf(model.manifest, init.parts))
    this.#total = {
      pieces: wanted.length,
      bytes: wanted.reduce((sum, index) => sum + this.#bytesOf(index), 0)
    }
    for (const index of this.#missing) {
      this.#picker.add(index)
      this.#bytesMissing += this.#bytesOf(index)
    }
  }

  get progress(): TransferProgress {
    const { bytesPerSecond } = this.#rate
    const peers = [...this.#suppliers.values()].filter(
      ({ kind, live }) => kind === 'peer' && live?.isReady !== false
    )
    return {
      pieces: this.#total.pieces - this.#missing.size,
      totalPieces: this.#total.pieces,
      bytes: this.#total.bytes - this.#bytesMissing,
      totalBytes: this.#total.bytes,
      fetched: { ...this.#fetched },
      peers: peers.length,
      bytesPerSecond,
      etaSeconds: bytesPerSecond > 0 ? this.#bytesMissing / bytesPerSecond : undefined
    }
  }

  /**
   * At any time. A source is asked for pieces until it ends, or has given a bad one. Peers are not, where nobody has
   * hashed the model: nothing would tell good pieces from bad ones.
   */
  add(source: PieceSource): void {
    if (source.kind === 'peer' && this.#model.manifest.pieces === undefined) return
    if (this.#suppliers.has(source) || (source as { hasEnded?: boolean }).hasEnded) return
    const supplier = new Supplier(source, this.#table.pieceBytes)
    this.#suppliers.set(source, supplier)
    if (source.kind === 'peer') {
      this.#peersSince ??= this.#clock.now()
      for (const index of this.#missing) if (source.has(index)) this.#picker.count(index, 1)
    }
    supplier.stop = supplier.live?.watch({
      onHave: (index) => this.#have(supplier, index),
      onReady: () => {
        supplier.isDry = false
        if (supplier.live?.hasEnded) this.#drop(supplier)
        else this.#pump()
      }
    })
    this.#want(supplier)
    this.#pump()
  }

  /** It is asked no more; it is not closed. */
  remove(source: PieceSource): void {
    const supplier = this.#suppliers.get(source)
    if (supplier !== undefined) this.#drop(supplier)
  }

  /**
   * Resolves when all pieces are there. Rejects with the signal's reason, with the store's error where the disk is
   * full, and with a ShoalError UNAVAILABLE when no piece has come for long. To be called once.
   */
  async run(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    const abort = (): void => this.#done.reject(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    const stopListening = this.#model.onPiece((index) => this.#complete(index))
    this.#isRunning = true
    this.#lastPieceAt = this.#clock.now()
    let cancelTick = (): void => {}
    const tick = (): void => {
      this.#tick()
      cancelTick = this.#clock.after(TICK_MS, tick)
    }
    try {
      for (const index of this.#missing) if (this.#model.has(index)) this.#complete(index)
      if (this.#missing.size === 0) this.#done.resolve()
      tick()
      this.#pump()
      await this.#done.promise
    } finally {
      this.#isRunning = false
      cancelTick()
      stopListening()
      signal?.removeEventListener('abort', abort)
      for (const supplier of this.#suppliers.values()) this.#drop(supplier)
      await Promise.allSettled(this.#writes)
      this.#tell()
    }
  }

  #bytesOf(index: number): number {
    return this.#table.at(index).byteLength
  }

  #have(supplier: Supplier, index: number): void {
    if (!this.#missing.has(index)) return
    supplier.isDry = false
    if (supplier.kind === 'peer') this.#picker.count(index, 1)
    supplier.live?.want(this, true)
    this.#pump()
  }

  #want(supplier: Supplier): void {
    if (supplier.live === undefined) return
    let isWanted = false
    for (const index of this.#missing) {
      isWanted = supplier.source.has(index)
      if (isWanted) break
    }
    supplier.live.want(this, isWanted)
  }

  #drop(supplier: Supplier): void {
    if (!this.#suppliers.delete(supplier.source)) return
    supplier.stop?.()
    if (supplier.kind === 'peer') {
      for (const index of this.#missing) if (supplier.source.has(index)) this.#picker.count(index, -1)
    }
    for (const fetch of supplier.fetches) fetch.controller.abort(NOT_NEEDED)
    supplier.live?.want(this, false)
  }

  /** Asks whoever may be asked, each for one after the other. */
  #pump(): void {
    if (this.#isPumping) return
    this.#isPumping = true
    for (let hasAsked = true; hasAsked; ) {
      hasAsked = false
      for (const supplier of this.#suppliers.values()) hasAsked = this.#ask(supplier) || hasAsked
    }
    this.#isPumping = false
  }

  #ask(supplier: Supplier): boolean {
    const now = this.#clock.now()
    if (!this.#isRunning || supplier.isDry || !supplier.isAvailable(now) || this.#isHeldUp) return false
    const isFull = this.#bytesInFlight > 0 && this.#bytesInFlight >= this.#mostInFlight
    const { room } = supplier
    if (room === 0 || isFull) return false
    const mayBeAsked = this.#isEnough && supplier.kind === 'http' ? this.#nobodyHas : () => true
    const offers = (index: number): boolean => supplier.offers(index, now) && mayBeAsked(index)
    const first = this.#picker.find(offers) ?? this.#late(supplier, offers, now)
    supplier.isDry = first === undefined
    if (first === undefined) return false
    void this.#fetch(supplier, this.#around(first, room, offers), now)
    return true
  }

  /** By the cap, until a later tick. */
  get #isHeldUp(): boolean {
    return (this.#bucket?.waitMs ?? 0) > 0
  }

  get #mostInFlight(): number {
    return this.#init.maxBytesInFlight ?? MAX_BYTES_IN_FLIGHT
  }

  /** Peers give enough, or were not given the time to. */
  get #isEnough(): boolean {
    if (this.#peersSince === undefined) return false
    if (this.#clock.now() - this.#peersSince < RATE_WINDOW_MS) return true
    return this.#peerRate.bytesPerSecond >= (this.#init.enoughFromPeers ?? ENOUGH_BYTES_PER_SECOND)
  }

  readonly #nobodyHas = (index: number): boolean => this.#picker.holders(index) === 0

  /** Free pieces beside it, for a source that reads them in one go. */
  #around(first: number, room: number, offers: (index: number) => boolean): number[] {
    if (room === 1 || !this.#picker.has(first)) return [first]
    const start = first - (first % room)
    const indices: number[] = []
    for (let index = start; index < start + room; index++) {
      if (this.#picker.has(index) && offers(index)) indices.push(index)
    }
    return indices
  }

  /** A piece that others are late with. */
  #late(supplier: Supplier, offers: (index: number) => boolean, now: number): number | undefined {
    const patience = Math.max(LATE * supplier.typicalMs, LEAST_LATE_MS)
    for (const [index, fetches] of this.#askers) {
      if (fetches.size >= MOST_ASKED || this.#writing.has(index) || !offers(index)) continue
      const isLate = ({ supplier: other, startedAt }: Fetch): boolean =>
        other !== supplier && now - startedAt > patience
      if ([...fetches].every(isLate)) return index
    }
    return undefined
  }

  async #fetch(supplier: Supplier, indices: number[], now: number): Promise<void> {
    const fetch: Fetch = {
      ...{ supplier, indices: new Set(indices), controller: new AbortController() },
      ...{ startedAt: now, startedBytes: supplier.bytes }
    }
    supplier.asked(now)
    supplier.fetches.add(fetch)
    for (const index of indices) {
      this.#picker.remove(index)
      this.#bytesInFlight += this.#bytesOf(index)
      this.#bucket?.take(this.#bytesOf(index))
      const askers = this.#askers.get(index)
      if (askers === undefined) this.#askers.set(index, new Set([fetch]))
      else askers.add(fetch)
    }
    try {
      const onPiece = (piece: PieceReceived): void => this.#receive(fetch, piece)
      await supplier.source.fetch(indices, onPiece, fetch.controller.signal)
      if (supplier.live?.isReady !== false) {
        for (const index of fetch.indices) supplier.refuse(index, this.#clock.now())
      }
    } catch {
      if (!fetch.controller.signal.aborted) this.#drop(supplier) // of no more use: it says so
    }
    supplier.fetches.delete(fetch)
    for (const index of fetch.indices) this.#release(fetch, index)
    this.#pump()
  }

  /** The fetch will not give it any more, or has. */
  #release(fetch: Fetch, index: number): void {
    if (!fetch.indices.delete(index)) return
    this.#bytesInFlight -= this.#bytesOf(index)
    const askers = this.#askers.get(index)
    askers?.delete(fetch)
    if (askers?.size === 0) this.#askers.delete(index)
    this.#free(index)
  }

  /** May be asked for again, unless it is here or about to be. */
  #free(index: number): void {
    if (!this.#missing.has(index) || this.#askers.has(index) || this.#writing.has(index)) return
    this.#picker.add(index)
    for (const supplier of this.#suppliers.values()) supplier.isDry = false
  }

  #receive(fetch: Fetch, piece: PieceReceived): void {
    const { index } = piece
    if (!fetch.indices.has(index)) return // cancelled, and it came all the same
    if (this.#writing.has(index) || !this.#missing.has(index)) {
      this.#release(fetch, index)
      return
    }
    const bytes = this.#bytesOf(index)
    this.#bytesInFlight += bytes
    this.#writing.add(index)
    this.#release(fetch, index)
    const written = this.#write(fetch, piece).finally(() => {
      this.#bytesInFlight -= bytes
      this.#writing.delete(index)
      this.#writes.delete(written)
      this.#free(index)
      this.#pump()
    })
    this.#writes.add(written)
    this.#pump()
  }

  async #write(fetch: Fetch, piece: PieceReceived): Promise<void> {
    const { supplier } = fetch
    const now = this.#clock.now()
    try {
      await this.#model.write(piece)
    } catch (error) {
      if ((error as ShoalError).code !== 'PIECE') {
        this.#done.reject(error)
        return
      }
      if (!this.#suppliers.has(supplier.source)) return // that was its second
      this.#drop(supplier)
      this.#init.onBadSource?.(supplier.source)
      await supplier.source.close().catch(() => {})
      return
    }
    this.#fetched[supplier.kind] += piece.bytes.byteLength
    supplier.credit(fetch, piece.bytes.byteLength, now)
    this.#complete(piece.index)
  }

  /** It is here. Others that were asked for it need not give it. */
  #complete(index: number): void {
    if (!this.#missing.delete(index)) return
    this.#picker.remove(index)
    this.#bytesMissing -= this.#bytesOf(index)
    this.#lastPieceAt = this.#clock.now()
    for (const fetch of this.#askers.get(index) ?? []) {
      this.#release(fetch, index)
      if (fetch.indices.size === 0) fetch.controller.abort(NOT_NEEDED)
    }
    if (this.#missing.size === 0) this.#done.resolve()
  }

  #tick(): void {
    const now = this.#clock.now()
    if (this.#isHeldUp) this.#lastPieceAt = now // nobody else is late
    this.#rate.mark(now, this.#fetched.peer + this.#fetched.http + this.#fetched.file)
    this.#peerRate.mark(now, this.#fetched.peer)
    for (const supplier of this.#suppliers.values()) {
      supplier.isDry = false
      this.#want(supplier)
      if (!supplier.hasStalled(now)) continue
      supplier.rest(now)
      const error = new ShoalError('STALLED', `nothing comes from ${supplier.source.name}`)
      for (const { controller } of supplier.fetches) controller.abort(error)
    }
    if (now - this.#lastPieceAt > (this.#init.deadlineMs ?? DEADLINE_MS)) this.#giveUp()
    this.#tell()
    this.#pump()
  }

  #tell(): void {
    const { progress } = this
    if (progress.bytes === this.#told) return
    this.#told = progress.bytes
    this.#init.onProgress?.(progress)
  }

  #giveUp(): void {
    const sources = [...this.#suppliers.keys()]
    this.#done.reject(unavailable(this.#table, [...this.#missing], sources))
  }
}
