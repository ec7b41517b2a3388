import type { Startable } from '../common/index.ts'
import type { Engine } from '../engine/index.ts'
import type { Open, Profile, RefusalCode, StageInfo } from '../net/index.ts'
import { Batcher } from './batcher.ts'

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

/** Why a session can't be opened, in words that say what to do. */
export interface Refusal {
  readonly code: RefusalCode
  readonly message: string
}

/** What an admitted session holds until it releases it. */
export interface Place {
  readonly sequence: number
  readonly reserved: number
}

/** A span loaded into an engine: admits sessions, and computes their rows in common batches. */
export class Stage implements Startable {
  readonly engine: Engine
  readonly batcher: Batcher
  readonly #init: StageInit
  #freeSequences: number[] = []
  #freePositions = 0
  #stopListening: (() => void) | undefined

  constructor({ engine }: StageComponents, init: StageInit) {
    this.engine = engine
    this.#init = init
    this.batcher = new Batcher(engine)
  }

  async start(): Promise<void> {
    await this.engine.start()
    this.#reset()
    this.#stopListening ??= this.engine.onStateChange((state, detail) => {
      // All sequences died with the engine's process: their sessions end, and their places are new.
      if (state === 'died')
        this.batcher.failAll('engine', `the engine died (${detail}) and is being restarted`)
      else this.#reset()
    })
  }

  async stop(): Promise<void> {
    this.#stopListening?.()
    this.batcher.failAll('stopping', 'this node is leaving')
    await this.engine.stop()
  }

  #reset(): void {
    const { sequences, context } = this.engine.description
    this.#freeSequences = Array.from({ length: sequences }, (_, index) => sequences - 1 - index)
    this.#freePositions = context
  }

  get info(): StageInfo {
    const { width, context, maxRows } = this.engine.description
    const { start, end, blockCount } = this.#init
    return { ...this.#init, width, context, maxRows, head: end === blockCount, embedding: start === 0 }
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
    const { profile } = open
    const differs = (Object.keys(info.profile) as (keyof Profile)[]).find(
      (key) => profile[key] !== info.profile[key]
    )
    if (differs !== undefined) {
      return {
        code: 'profile',
        message: `${differs} is ${info.profile[differs]} here, not ${profile[differs]}`
      }
    }
    return undefined
  }

  admit(open: Open): Place | Refusal {
    if (open.reserve > this.#freePositions) {
      return { code: 'full', message: `${open.reserve} positions asked for, ${this.#freePositions} are free` }
    }
    const sequence = this.#freeSequences.pop()
    if (sequence === undefined) return { code: 'full', message: 'every session slot is taken' }
    this.#freePositions -= open.reserve
    return { sequence, reserved: open.reserve }
  }

  /** Frees the KV cells, too. Never rejects: if the engine is dead, they are free already. */
  async release(place: Place): Promise<void> {
    const { engine } = this
    const process = engine.description.process
    try {
      await engine.drop(place.sequence)
    } catch {
      return // the restarted engine begins with all places free
    }
    if (engine.description.process !== process) return
    this.#freeSequences.push(place.sequence)
    this.#freePositions += place.reserved
  }
}
