/** A transfer's book on one of its sources: what it was asked, how fast it is, and how often it failed. */
import type { PieceSource } from '../contract.ts'
import type { LiveSource } from './source.ts'

/** At least: one piece on its way while the next is being sent. */
const LEAST_PENDING = 2
/** Of one peer, half of what it lets be requested; cancelled requests count there, too. */
const MOST_PENDING = 128
/** More than the line holds, so that what it holds can be found out (as BBR probes for bandwidth). */
const PROBE = 1.25
/** It is asked again when it has no more than this part of it: requests in one message cost less than one by one. */
const REFILL = 0.75
/** What a `file` or `http` source is asked for at once, so that it can read it in one go. */
const BATCH_BYTES = 4 * 1024 * 1024
const BATCHES = 2
/** Disks and busy machines take so long now and then, and the line is not to be idle meanwhile. */
const LEAST_ROUND_TRIP_MS = 50
/** The shortest time is forgotten in one to two of these: ways change. */
const ROUND_TRIP_WINDOW_MS = 15_000
/** Weight of each new measurement. */
const SMOOTHING = 0.1
/** Nothing came from it, though it was asked. */
const STALL_MS = { peer: 5_000, http: 30_000, file: 30_000 }
const FIRST_REST_MS = 2_000
const LONGEST_REST_MS = 60_000
/** A piece that it did not give is asked of others first. */
const REFUSED_MS = 10_000

/** One call of `fetch`. */
export interface Fetch {
  readonly supplier: Supplier
  /** Those that have not come yet. */
  readonly indices: Set<number>
  readonly controller: AbortController
  readonly startedAt: number
  /** What had come from the source when it began. */
  readonly startedBytes: number
}

export class Supplier {
  readonly source: PieceSource
  readonly live: LiveSource | undefined
  readonly fetches = new Set<Fetch>()
  /** Of whole, good pieces. */
  bytes = 0
  failures = 0
  /** Nothing that it has was free when it was last looked at. */
  isDry = false
  stop: (() => void) | undefined
  readonly #pieceBytes: number
  readonly #refused = new Map<number, number>()
  #bytesPerMs = 0
  #shortestMs = Number.POSITIVE_INFINITY
  #shortestBefore = Number.POSITIVE_INFINITY
  #windowAt = 0
  #typicalMs = 0
  #restsUntil = 0
  #isFilling = true
  #movedAt = 0
  #movedBytes = 0

  constructor(source: PieceSource, pieceBytes: number) {
    this.source = source
    this.live = 'watch' in source ? (source as LiveSource) : undefined
    this.#pieceBytes = pieceBytes
  }

  get kind(): PieceSource['kind'] {
    return this.source.kind
  }

  get pending(): number {
    let count = 0
    for (const { indices } of this.fetches) count += indices.size
    return count
  }

  /** Smoothed milliseconds from asking for a piece to having it. */
  get typicalMs(): number {
    return this.#typicalMs
  }

  isAvailable(now: number): boolean {
    return (this.live?.isReady ?? true) && now >= this.#restsUntil
  }

  offers(index: number, now: number): boolean {
    return this.source.has(index) && now >= (this.#refused.get(index) ?? 0)
  }

  /** How many more pieces it may be asked for in one call; 0: none now. */
  get room(): number {
    if (this.kind !== 'peer') {
      return this.fetches.size < BATCHES ? Math.max(1, Math.floor(BATCH_BYTES / this.#pieceBytes)) : 0
    }
    const shortest = Math.min(this.#shortestMs, this.#shortestBefore)
    const roundTrip = Number.isFinite(shortest) ? Math.max(shortest, LEAST_ROUND_TRIP_MS) : 0
    const inFlight = (this.#bytesPerMs * roundTrip) / this.#pieceBytes
    const most = Math.min(LEAST_PENDING + Math.ceil(PROBE * inFlight), MOST_PENDING)
    const { pending } = this
    if (pending >= most) this.#isFilling = false
    else if (pending <= most * REFILL) this.#isFilling = true
    return this.#isFilling ? 1 : 0
  }

  /** A piece has come, and is good. */
  credit(fetch: Fetch, bytes: number, now: number): void {
    const took = Math.max(now - fetch.startedAt, 0.1)
    this.bytes += bytes
    this.failures = 0
    const rate = (this.bytes - fetch.startedBytes) / took
    const isFirst = this.#typicalMs === 0
    this.#bytesPerMs += (rate - this.#bytesPerMs) * (isFirst ? 1 : SMOOTHING)
    this.#typicalMs += (took - this.#typicalMs) * (isFirst ? 1 : SMOOTHING)
    if (now - this.#windowAt > ROUND_TRIP_WINDOW_MS) {
      this.#windowAt = now
      this.#shortestBefore = this.#shortestMs
      this.#shortestMs = Number.POSITIVE_INFINITY
    }
    this.#shortestMs = Math.min(this.#shortestMs, took)
  }

  /** It gave up on a piece that it has. */
  refuse(index: number, now: number): void {
    this.#refused.set(index, now + REFUSED_MS)
  }

  /** It failed: for a while it is not asked again, each time longer. */
  rest(now: number): void {
    this.#restsUntil = now + Math.min(FIRST_REST_MS * 2 ** this.failures, LONGEST_REST_MS)
    this.failures += 1
  }

  asked(now: number): void {
    if (this.fetches.size === 0) this.#movedAt = now
  }

  /** It was asked, and for long nothing has come, not even a part of a piece. */
  hasStalled(now: number): boolean {
    const moved = this.live?.receivedBytes ?? this.bytes
    if (this.fetches.size === 0 || moved !== this.#movedBytes) this.#movedAt = now
    this.#movedBytes = moved
    return now - this.#movedAt > STALL_MS[this.kind]
  }
}
