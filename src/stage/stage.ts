import type { Startable } from '../common/index.ts'
import type { Engine, LoadOptions } from '../engine/index.ts'
import {
  type Open,
  type Profile,
  ROW_CODECS,
  type Speed,
  type StageInfo,
  type StageLoad,
  speaks
} from '../net/index.ts'
import { Batcher, type Lane } from './batcher.ts'
import { Demand } from './demand.ts'
import type { Refusal } from './refusal.ts'

export interface StageComponents {
  readonly engine: Engine
}

export interface StageInit {
  readonly model: string
  readonly name: string
  readonly architecture: string
  readonly start: number
  readonly end: number
  readonly blockCount: number
  readonly profile: Profile
}

/** What an admitted session holds until it is removed. */
export interface Place {
  readonly sequence: number
  reserved: number
  /** The engine's process that it is a place in. */
  readonly process: number
}

/** A session as its stage sees it. */
export interface Guest extends Lane {
  /** Since when nothing was asked of it, by performance.now(); undefined while there is. */
  readonly idleSince: number | undefined
  /** Positions that it holds. */
  readonly reserved: number
}

/** Kept for the next turn of a conversation for so long, room or not. */
const MAX_IDLE_MS = 15 * 60_000
/** Nobody is sent away for others before this: a person reads, or another hop of the chain is being replaced. */
const MIN_IDLE_MS = 20_000

/** A span loaded into an engine: admits sessions, and computes their rows in common batches. */
export class Stage implements Startable {
  readonly engine: Engine
  readonly batcher: Batcher
  /** What others are told of how fast it is, once somebody has measured it. */
  speed: Speed | undefined
  readonly #init: StageInit
  readonly #demand = new Demand()
  #freeSequences: number[] = []
  #freePositions = 0
  /** Why nobody is admitted now. */
  #away: Refusal | undefined = { code: 'engine', message: 'the engine has not been started' }
  readonly #guests = new Set<Guest>()
  #stopListening: (() => void) | undefined
  #sweep: NodeJS.Timeout | undefined

  constructor({ engine }: StageComponents, init: StageInit) {
    this.engine = engine
    this.#init = init
    this.batcher = new Batcher(engine)
  }

  async start(options: LoadOptions = {}): Promise<void> {
    if (this.#stopListening !== undefined) return
    await this.engine.start(options)
    this.#reset()
    this.#stopListening = this.engine.onStateChange((state, detail) => {
      if (state === 'died') this.#died(detail)
      else this.#reset()
    })
    this.#sweep = setInterval(() => this.#sendAwayIdle(), MAX_IDLE_MS / 15).unref()
  }

  async stop(): Promise<void> {
    this.#away = { code: 'stopping', message: 'this node is leaving' }
    this.#stopListening?.()
    this.#stopListening = undefined
    clearInterval(this.#sweep)
    this.batcher.failAll(this.#away.code, this.#away.message)
    await this.engine.stop()
  }

  /** All sequences died with the engine's process: their sessions end, and nobody gets a place until it is back. */
  #died(detail: string): void {
    this.#away = { code: 'engine', message: `the engine died (${detail}) and is being restarted: try again` }
    this.batcher.failAll(this.#away.code, this.#away.message)
  }

  #reset(): void {
    const { sequences, context } = this.engine.description
    this.#freeSequences = Array.from({ length: sequences }, (_, index) => sequences - 1 - index)
    this.#freePositions = context
    this.#away = undefined
  }

  /** What new sessions can have. */
  get free(): { readonly sequences: number; readonly positions: number } {
    return { sequences: this.#freeSequences.length, positions: this.#freePositions }
  }

  get info(): StageInfo {
    const { width, context, maxRows, sequences: sessions } = this.engine.description
    const { start, end, blockCount } = this.#init
    const { speed } = this
    const demand = this.#demand.perMinute
    const figures = { width, codecs: ROW_CODECS, context, maxRows, sessions, speed, demand }
    return { ...this.#init, ...figures, head: end === blockCount, embedding: start === 0 }
  }

  /** How busy it is now. */
  get load(): StageLoad {
    const { model, start, end } = this.#init
    const stepMicroseconds = Math.round(this.batcher.predictedMs * 1000)
    return {
      ...{ model, start, end, stepMicroseconds },
      freeSessions: this.#freeSequences.length + this.#idle(MIN_IDLE_MS).length,
      freePositions: this.#freePositions,
      // Who comes in the middle of a step waits for its end.
      waitMicroseconds: this.batcher.isRunning ? Math.round(stepMicroseconds / 2) : 0
    }
  }

  /** Whether `open` asks for this stage. */
  serves(open: Open): boolean {
    const { model, start, end } = this.#init
    return open.model === model && open.start === start && open.end <= end
  }

  check(open: Open): Refusal | undefined {
    const { info } = this
    if (open.head !== (open.end === info.blockCount)) {
      return { code: 'span', message: `the tail ends at block ${info.blockCount}, not ${open.end}` }
    }
    if (open.head === (open.next !== undefined)) {
      return { code: 'next', message: 'every hop but the tail has a next one' }
    }
    if (open.head && open.sampler === undefined) return { code: 'input', message: 'the tail needs a sampler' }
    if (open.reserve === 0) return { code: 'input', message: 'no positions are asked for' }
    const { profile } = open
    const differs = (Object.keys(info.profile) as (keyof Profile)[]).find(
      (key) => key !== 'codec' && profile[key] !== info.profile[key]
    )
    if (differs !== undefined) {
      return {
        code: 'profile',
        message: `${differs} is ${info.profile[differs]} here, not ${profile[differs]}`
      }
    }
    if (!speaks(info, profile.codec)) {
      return {
        code: 'profile',
        message: `codec ${profile.codec} is not spoken here: ${ROW_CODECS.join(', ')} are`
      }
    }
    return undefined
  }

  /** Room for `reserve` positions, for which others that are idle may have to go. */
  admit(reserve: number): Place | Refusal {
    if (this.#away !== undefined) return this.#away
    const noRoom = this.#makeRoom(1, reserve)
    if (noRoom !== undefined) return noRoom
    this.#demand.add()
    const sequence = this.#freeSequences.pop() as number
    this.#freePositions -= reserve
    return { sequence, reserved: reserve, process: this.engine.description.process }
  }

  /** More positions for a place. */
  extend(place: Place, reserve: number): Refusal | undefined {
    const more = reserve - place.reserved
    if (more <= 0) return undefined
    const noRoom = this.#makeRoom(0, more)
    if (noRoom !== undefined) return noRoom
    this.#freePositions -= more
    place.reserved = reserve
    return undefined
  }

  /** Sends idle sessions away, the longest idle first, until there is room. Where there can't be, nobody has to go. */
  #makeRoom(sequences: number, positions: number): Refusal | undefined {
    const idle = this.#idle(MIN_IDLE_MS)
    if (sequences > this.#freeSequences.length + idle.length) {
      return { code: 'full', message: `all ${this.engine.description.sequences} sessions are taken` }
    }
    if (positions > idle.reduce((sum, { reserved }) => sum + reserved, this.#freePositions)) {
      return { code: 'full', message: `${positions} positions asked for, ${this.#freePositions} are free` }
    }
    for (const guest of idle) {
      if (sequences <= this.#freeSequences.length && positions <= this.#freePositions) break
      guest.failed('idle', 'the session was idle the longest, and its place was needed')
    }
    return undefined
  }

  /** Who has been asked for nothing in `idleMs` or longer, the longest first. */
  #idle(idleMs: number): Guest[] {
    const latest = performance.now() - idleMs
    const idle = [...this.#guests].filter(({ idleSince = Number.POSITIVE_INFINITY }) => idleSince <= latest)
    return idle.sort((a, b) => (a.idleSince as number) - (b.idleSince as number))
  }

  #sendAwayIdle(): void {
    for (const guest of this.#idle(MAX_IDLE_MS))
      guest.failed('idle', 'nothing was asked of the session for long')
  }

  add(guest: Guest): void {
    this.#guests.add(guest)
    this.batcher.add(guest)
  }

  /**
   * Frees the KV cells, too. The place can be given out again at once: the engine does what is asked of it in
   * order, so that the next session's rows come after the drop.
   */
  remove(guest: Guest, { sequence, reserved, process }: Place): void {
    this.#guests.delete(guest)
    this.batcher.remove(guest)
    if (this.engine.description.process !== process) return // a restarted engine began with all places free
    this.engine.drop(sequence).catch(() => {}) // where it is dead, all places are new when it is back
    this.#freeSequences.push(sequence)
    this.#freePositions += reserved
  }
}
