/** A bounded queue for a few places: owners take turns, and each owner's requests keep their order. */
import type { Clock } from '../common/index.ts'
import { GatewayError } from './errors.ts'

export interface QueueInit {
  /** Answers at once. */
  readonly places: number
  /** Requests that wait. */
  readonly length: number
  /** Longest wait, in milliseconds. */
  readonly waitMs: number
}

export interface Entry {
  /** Places that it takes. Default 1. */
  readonly places?: number
  /** Places that its owner may have at once; requests beyond wait. Default: no limit. */
  readonly concurrency?: number | undefined
  /** Requests of its owner that may wait. Default: no limit. */
  readonly waiting?: number | undefined
  readonly signal: AbortSignal
  /** Called when it waits, and whenever it moves up: 1 is next. */
  readonly onPosition?: ((position: number) => void) | undefined
}

export interface Place {
  readonly waitedMs: number
  /** Where it stood when it came; 0: it did not wait. */
  readonly position: number
  /** Idempotent. */
  release(): void
}

interface Waiter {
  readonly owner: string
  readonly places: number
  readonly concurrency: number
  readonly since: number
  readonly onPosition: ((position: number) => void) | undefined
  readonly start: () => void
  isWaiting: boolean
  /** When it came. */
  position: number
  /** The last that it was told. */
  told: number
}

/** Before anything was measured: an answer of some hundred tokens. */
const FIRST_SERVICE_MS = 10_000
/** Weight of the latest: some ten answers back count. */
const SMOOTHING = 0.1
/** Nobody plans further ahead. */
const MAX_RETRY_SECONDS = 600

export class FairQueue {
  readonly #clock: Clock
  readonly #init: QueueInit
  /** The owner whose turn it is first; nobody without waiters is in it. */
  readonly #waiters = new Map<string, Waiter[]>()
  /** Places that owners have. */
  readonly #held = new Map<string, number>()
  #active = 0
  #length = 0
  #serviceMs = FIRST_SERVICE_MS
  #isTelling = false

  constructor(clock: Clock, init: QueueInit) {
    this.#clock = clock
    this.#init = init
  }

  /** Places taken. */
  get active(): number {
    return this.#active
  }

  /** Requests that wait. */
  get length(): number {
    return this.#length
  }

  /** When a place may be free for who comes now, by how long places were held lately. */
  get retrySeconds(): number {
    const ms = ((this.#length + 1) * this.#serviceMs) / this.#init.places
    return Math.min(Math.max(Math.ceil(ms / 1000), 1), MAX_RETRY_SECONDS)
  }

  /**
   * Resolves with a place. Throws a GatewayError: LIMITED where the owner has too many waiting, BUSY where the queue is
   * full or the wait too long; or the signal's reason.
   */
  async enter(owner: string, entry: Entry): Promise<Place> {
    const { signal, places: wanted = 1, concurrency = Number.POSITIVE_INFINITY } = entry
    signal.throwIfAborted()
    // Whoever wants more than there are gets all there are.
    const places = Math.max(1, Math.min(wanted, this.#init.places, concurrency))
    const since = this.#clock.now()
    const { promise, resolve } = Promise.withResolvers<void>()
    const { onPosition } = entry
    const waiter: Waiter = {
      ...{ owner, places, concurrency, since, onPosition, start: resolve },
      ...{ isWaiting: true, position: 0, told: Number.POSITIVE_INFINITY }
    }
    this.#join(waiter)
    this.#serve()
    if (waiter.isWaiting) {
      this.#checkRoom(waiter, entry)
      waiter.position = this.#positionOf(waiter)
      this.#tell(waiter)
      await this.#wait(waiter, promise, signal)
    }
    return this.#place(waiter)
  }

  #checkRoom(waiter: Waiter, { waiting = Number.POSITIVE_INFINITY }: Entry): void {
    const mine = (this.#waiters.get(waiter.owner)?.length ?? 1) - 1
    const all = this.#length - 1
    if (mine < waiting && all < this.#init.length) return
    this.#leave(waiter)
    const data = { retryAfterSeconds: this.retrySeconds, position: all + 1 }
    if (mine >= waiting) {
      throw new GatewayError('LIMITED', `${mine} of your requests are waiting already: try again later`, data)
    }
    throw new GatewayError('BUSY', `${all} requests are waiting already: try again later`, data)
  }

  async #wait(waiter: Waiter, started: Promise<void>, signal: AbortSignal): Promise<void> {
    const { waitMs } = this.#init
    const end = Promise.withResolvers<never>()
    const gone = (): void => end.reject(signal.reason)
    const cancel = this.#clock.after(waitMs, () => {
      const text = `no place was free for ${Math.round(waitMs / 1000)} s: try again later`
      end.reject(new GatewayError('BUSY', text, { retryAfterSeconds: this.retrySeconds }))
    })
    signal.addEventListener('abort', gone)
    try {
      await Promise.race([started, end.promise])
    } catch (error) {
      if (waiter.isWaiting) this.#leave(waiter)
      else this.#free(waiter) // its turn came in the same moment
      throw error
    } finally {
      cancel()
      signal.removeEventListener('abort', gone)
    }
  }

  #place(waiter: Waiter): Place {
    const since = this.#clock.now()
    let isHeld = true
    const release = (): void => {
      if (!isHeld) return
      isHeld = false
      this.#serviceMs += SMOOTHING * (this.#clock.now() - since - this.#serviceMs)
      this.#free(waiter)
    }
    return { waitedMs: since - waiter.since, position: waiter.position, release }
  }

  #join(waiter: Waiter): void {
    const own = this.#waiters.get(waiter.owner)
    if (own === undefined) this.#waiters.set(waiter.owner, [waiter])
    else own.push(waiter)
    this.#length += 1
  }

  #leave(waiter: Waiter): void {
    const left = (this.#waiters.get(waiter.owner) ?? []).filter((other) => other !== waiter)
    if (left.length === 0) this.#waiters.delete(waiter.owner)
    else this.#waiters.set(waiter.owner, left)
    this.#length -= 1
    this.#serve()
  }

  #fits({ owner, places, concurrency }: Waiter): boolean {
    return this.#active + places <= this.#init.places && (this.#held.get(owner) ?? 0) + places <= concurrency
  }

  #take({ owner, places }: Waiter): void {
    this.#active += places
    this.#held.set(owner, (this.#held.get(owner) ?? 0) + places)
  }

  #free({ owner, places }: Waiter): void {
    this.#active -= places
    const held = (this.#held.get(owner) ?? 0) - places
    if (held > 0) this.#held.set(owner, held)
    else this.#held.delete(owner)
    this.#serve()
  }

  /** Gives what is free to those whose turn it is. */
  #serve(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const own = this.#waiters.get(next.owner) as Waiter[]
      own.shift()
      this.#waiters.delete(next.owner)
      if (own.length > 0) this.#waiters.set(next.owner, own) // behind all others
      this.#length -= 1
      this.#take(next)
      next.isWaiting = false
      next.start()
    }
    this.#tellLater()
  }

  /**
   * The first owner's first that may go. One that waits for more places than are free is not overtaken, else it would
   * wait forever; one that waits for its own owner's others is.
   */
  #next(): Waiter | undefined {
    for (const [first] of this.#waiters.values()) {
      if (first === undefined || (this.#held.get(first.owner) ?? 0) + first.places > first.concurrency)
        continue
      return this.#fits(first) ? first : undefined
    }
    return undefined
  }

  /** Once for all that changes in the same moment. */
  #tellLater(): void {
    if (this.#isTelling || this.#length === 0) return
    this.#isTelling = true
    queueMicrotask(() => {
      this.#isTelling = false
      for (const waiters of this.#waiters.values()) {
        for (const waiter of waiters) this.#tell(waiter)
      }
    })
  }

  #tell(waiter: Waiter): void {
    if (waiter.onPosition === undefined) return
    const position = this.#positionOf(waiter)
    if (position >= waiter.told) return
    waiter.told = position
    waiter.onPosition(position)
  }

  /** From 1: how many turns until it has its own, if all owners stay and have room. */
  #positionOf(waiter: Waiter): number {
    const rounds = this.#waiters.get(waiter.owner)?.indexOf(waiter) ?? 0
    let before = rounds
    let isBehind = true
    for (const [owner, { length }] of this.#waiters) {
      if (owner === waiter.owner) isBehind = false
      else before += Math.min(length, isBehind ? rounds + 1 : rounds)
    }
    return before + 1
  }
}
