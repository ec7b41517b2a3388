import type { Startable } from '../common/index.ts'
import type { Engine, LoadOptions } from '../engine/index.ts'
import type { Open, Profile, StageInfo } from '../net/index.ts'
import { Batcher } from './batcher.ts'
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

/** What an admitted session holds until it releases it. */
export interface Place {
  readonly sequence: number
  readonly reserved: number
  /** The engine's process that it is a place in. */
  readonly process: number
}

/** A span loaded into an engine: admits sessions, and computes their rows in common batches. */
export class Stage implements Startable {
  readonly engine: Engine
  readonly batcher: Batcher
  readonly #init: StageInit
  #freeSequences: number[] = []
  #freePositions = 0
  /** Why nobody is admitted now. */
  #away: Refusal | undefined = { code: 'engine', message: 'the engine has not been started' }
  #stopListening: (() => void) | undefined

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
  }

  async stop(): Promise<void> {
    this.#away = { code: 'stopping', message: 'this node is leaving' }
    this.#stopListening?.()
    this.#stopListening = undefined
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
    if (open.reserve === 0) return { code: 'input', message: 'no positions are asked for' }
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
    if (this.#away !== undefined) return this.#away
    if (open.reserve > this.#freePositions) {
      return { code: 'full', message: `${open.reserve} positions asked for, ${this.#freePositions} are free` }
    }
    const sequence = this.#freeSequences.pop()
    if (sequence === undefined) {
      return { code: 'full', message: `all ${this.engine.description.sequences} sessions are taken` }
    }
    this.#freePositions -= open.reserve
    return { sequence, reserved: open.reserve, process: this.engine.description.process }
  }

  /**
   * Frees the KV cells, too. The place can be given out again at once: the engine does what is asked of it in
   * order, so that the next session's rows come after the drop.
   */
  release({ sequence, reserved, process }: Place): void {
    if (this.engine.description.process !== process) return // a restarted engine began with all places free
    this.engine.drop(sequence).catch(() => {}) // where it is dead, all places are new when it is back
    this.#freeSequences.push(sequence)
    this.#freePositions += reserved
  }
}
