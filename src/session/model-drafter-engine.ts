/** A draft model's engine, shared by sessions: each has a sequence, and all of them the KV cells. */
import { type Engine, EngineError, type RowGroup, type SamplerSettings } from '../engine/index.ts'

/** Rows of a prompt at once: nobody who wants the next token meanwhile waits for long. */
const CHUNK_ROWS = 128

export class DraftEngine {
  readonly engine: Engine
  readonly #free: number[]
  /** Used longest ago first. */
  readonly #taken = new Set<DraftSequence>()
  readonly #unsubscribe: () => void

  /** It has to have been started, and is stopped by whoever started it. */
  constructor(engine: Engine) {
    this.engine = engine
    this.#free = Array.from({ length: engine.description.sequences }, (_, sequence) => sequence)
    this.#unsubscribe = engine.onStateChange((state) => {
      if (state === 'died') for (const sequence of this.#taken) sequence.forget()
    })
  }

  /** Undefined: all sequences are taken. */
  take(): DraftSequence | undefined {
    const sequence = this.#free.pop()
    if (sequence === undefined) return undefined
    const taken = new DraftSequence(this, sequence)
    this.#taken.add(taken)
    return taken
  }

  /** What is run in it has to have ended. */
  async release(taken: DraftSequence): Promise<void> {
    await taken.clear().catch(ignoreEngine)
    if (this.#taken.delete(taken)) this.#free.push(taken.sequence)
  }

  used(taken: DraftSequence): void {
    this.#taken.delete(taken)
    this.#taken.add(taken)
  }

  /** The cells are full: takes those of who has not drafted for longest. False where nobody else has any. */
  async makeRoom(wanting: DraftSequence): Promise<boolean> {
    const idle = [...this.#taken].find((one) => one !== wanting && !one.isBusy && one.length > 0)
    await idle?.clear()
    return idle !== undefined
  }

  close(): void {
    this.#unsubscribe()
  }
}

/** One session's. One call at a time. All calls throw an EngineError. */
export class DraftSequence {
  readonly sequence: number
  isBusy = false
  readonly #shared: DraftEngine
  /** Ids of the rows in the KV cache. */
  #ids: number[] = []
  #settings: SamplerSettings | undefined

  constructor(shared: DraftEngine, sequence: number) {
    this.#shared = shared
    this.sequence = sequence
  }

  get length(): number {
    return this.#ids.length
  }

  /**
   * Draws what follows `ids`, of which only what is new is computed; its probability is the model's own, before
   * temperature. Undefined: nothing can follow, or the signal has fired, and what was computed until then is kept.
   */
  async draw(
    ids: readonly number[],
    settings: SamplerSettings,
    signal: AbortSignal
  ): Promise<{ token: number; probability: number } | undefined> {
    this.isBusy = true
    this.#shared.used(this)
    try {
      await this.#prepare(ids, settings)
      while (!signal.aborted) {
        const position = this.#ids.length
        const tokens = Int32Array.from(ids.slice(position, position + CHUNK_ROWS))
        const isLast = position + tokens.length === ids.length
        const output = isLast ? 'sample-last' : 'none'
        const result = await this.#run({ sequence: this.sequence, position, tokens, output })
        for (const token of tokens) this.#ids.push(token)
        if (!isLast) continue
        const token = result.sampled?.[0] ?? -1
        if (token < 0) return undefined
        return { token, probability: Math.exp(result.logs?.drawn[0] ?? 0) }
      }
      return undefined
    } finally {
      this.isBusy = false
    }
  }

  /** At least the last row is computed again: its logits are needed. */
  async #prepare(ids: readonly number[], settings: SamplerSettings): Promise<void> {
    const { engine } = this.#shared
    let same = 0
    const most = Math.min(this.#ids.length, ids.length - 1)
    while (same < most && this.#ids[same] === ids[same]) same++
    if (same < this.#ids.length) this.#ids.length = await engine.truncate(this.sequence, same)
    if (this.#settings === settings) return
    await engine.setSampler(this.sequence, settings)
    this.#settings = settings
  }

  async #run(group: RowGroup) {
    for (;;) {
      const [result] = (await this.#shared.engine.run([group])).groups
      if (result === undefined) throw new EngineError('COMPUTE', 'The engine gave no result.')
      if (result.error === undefined) return result
      const isFull = result.error.code === 'KV_FULL'
      if (!isFull || !(await this.#shared.makeRoom(this))) throw result.error
    }
  }

  /** Gives its cells to others. */
  async clear(): Promise<void> {
    this.forget()
    await this.#shared.engine.drop(this.sequence)
  }

  /** The engine has died: it knows nothing of this sequence any more. */
  forget(): void {
    this.#ids = []
    this.#settings = undefined
  }

  release(): Promise<void> {
    return this.#shared.release(this)
  }
}

/** One that is dead has nothing to be freed. */
export function ignoreEngine(error: unknown): undefined {
  if (error instanceof EngineError) return undefined
  throw error
}
