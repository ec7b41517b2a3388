/** A stage without an engine: it takes time to load and to compute, and has so many places. */
import type { Clock } from '../../src/common/index.ts'
import type { StageInfo, StageLoad } from '../../src/net/index.ts'
import type { ContributorComponents } from '../../src/node/contributor.ts'
import { loadingInfo, type ShelvedModel } from '../../src/node/shelf.ts'
import { Demand } from '../../src/stage/demand.ts'
import type { Range } from '../../src/swarm/index.ts'
import { CONTEXT, type Machine, SESSIONS } from './machines.ts'

/** A span is written to its own files, and read again: some 400 MB/s of a solid state disk for both. */
const LOAD_BYTES_PER_MS = 200_000
/** To start the engine and to measure its speed. */
const START_MS = 4_000
/** A row of each further session that is computed in the same step, as a part of the first one's time. */
const BATCHED = 0.1
/** Sessions that have nowhere else to go when the stage is let go of: as in Hosting. */
const RETIRE_MS = 10_000

/** A session's place at one stage. */
export interface Guest {
  readonly positions: number
  /** The stage is going, or has gone. */
  lost(stage: SimStage): void
}

export class SimStage {
  readonly info: StageInfo
  readonly #demand: Demand
  readonly #guests = new Set<Guest>()
  isOpen = true

  constructor(clock: Clock, info: StageInfo) {
    this.info = info
    this.#demand = new Demand(clock)
  }

  /** As others are told. */
  get announced(): StageInfo {
    return { ...this.info, demand: this.#demand.perMinute }
  }

  get sessions(): number {
    return this.#guests.size
  }

  get load(): StageLoad {
    const { model, start, end } = this.info
    const stepMicroseconds = Math.round(this.stepMs * 1000)
    return {
      ...{ model, start, end, stepMicroseconds },
      freeSessions: SESSIONS - this.#guests.size,
      freePositions: this.#freePositions,
      waitMicroseconds: this.#guests.size > 0 ? Math.round(stepMicroseconds / 2) : 0
    }
  }

  get stepMs(): number {
    return (
      ((this.info.speed?.decodeMicroseconds ?? 0) / 1000) * (1 + BATCHED * Math.max(0, this.#guests.size - 1))
    )
  }

  get #freePositions(): number {
    let free = CONTEXT
    for (const { positions } of this.#guests) free -= positions
    return free
  }

  admit(guest: Guest): boolean {
    if (!this.isOpen || this.#guests.size >= SESSIONS || guest.positions > this.#freePositions) return false
    this.#demand.add()
    this.#guests.add(guest)
    return true
  }

  release(guest: Guest): void {
    this.#guests.delete(guest)
  }

  /** No more sessions here. Those that are open look for another place. */
  close(): void {
    this.isOpen = false
    for (const guest of [...this.#guests]) guest.lost(this)
  }
}

/** In place of Hosting and of the StageServer. */
export class SimHosting {
  stage: SimStage | undefined
  /** Spans loaded, or begun to be. */
  loads = 0
  readonly #clock: Clock
  readonly #machine: Machine
  readonly #shelf: ReadonlyMap<string, ShelvedModel>
  readonly #onLoad: (isFirst: boolean) => void

  constructor(
    clock: Clock,
    machine: Machine,
    shelf: ReadonlyMap<string, ShelvedModel>,
    onLoad: (isFirst: boolean) => void
  ) {
    this.#clock = clock
    this.#machine = machine
    this.#shelf = shelf
    this.#onLoad = onLoad
  }

  get infos(): StageInfo[] {
    return this.stage === undefined ? [] : [this.stage.announced]
  }

  readonly host: ContributorComponents['hosting']['host'] = async (called, blocks, signal) => {
    this.#onLoad(this.loads === 0)
    this.loads += 1
    const before = this.stage
    this.stage = undefined
    before?.close()
    if (before !== undefined && before.sessions > 0) await this.#wait(RETIRE_MS, signal)
    const { hostable, width } = this.#shelf.get(called) as ShelvedModel
    const { start, end } = blocks as Range
    const bytes = hostable.blockBytes.slice(start, end).reduce((sum, size) => sum + size, 0)
    await this.#wait(START_MS + bytes / LOAD_BYTES_PER_MS, signal)
    const { bytesPerMs, prefillShare } = this.#machine
    const decodeMicroseconds = Math.round((bytes / bytesPerMs) * 1000)
    const { state: _, ...info } = loadingInfo(
      { called, hostable, width },
      { start, end },
      { context: CONTEXT, sessions: SESSIONS, kvType: 'f16' }
    )
    const speed = { decodeMicroseconds, prefillMicroseconds: Math.round(decodeMicroseconds * prefillShare) }
    this.stage = new SimStage(this.#clock, { ...info, maxRows: 512, speed })
  }

  #wait(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      this.#clock.after(ms, () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      })
    })
  }
}
