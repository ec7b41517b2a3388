/** An Engine without a model, for tests: its arithmetic is of the ids alone, and it keeps what it was asked. */
import type { BatchResult, Engine, EngineDescription, GroupResult, RowGroup } from '../engine/index.ts'
import { EngineError } from '../engine/index.ts'

const WIDTH = 2

export class ArithmeticEngine implements Engine {
  description: EngineDescription
  /** Every batch that was run, in order. */
  readonly batches: (readonly RowGroup[])[] = []
  /** The ids of each sequence. */
  readonly histories: number[][]
  /** Sequences whose rows fail, and why. */
  readonly failing = new Map<number, EngineError>()
  /** Ids that make the whole batch be refused, as the real engine does with ids outside of its vocabulary. */
  readonly refusedTokens = new Set<number>()
  /** Milliseconds that a batch takes. */
  duration: (rows: number) => number = () => 0
  readonly #listeners = new Set<(state: 'died' | 'restarted', detail: string) => void>()
  #isDead = false
  #death = Promise.withResolvers<never>()
  #gate: Promise<void> = Promise.resolve()
  #last: Promise<unknown> = Promise.resolve()

  constructor(limits: Partial<EngineDescription> = {}) {
    this.description = {
      ...{ process: 1, libraryVersion: '', model: '', blocks: 2, width: WIDTH, vocabulary: 1000 },
      ...{ context: 4096, sequences: 32, maxRows: 64, maxOutputs: 16, threads: 1, slidingWindow: 0 },
      ...{ contextTrained: 4096, weightBytes: 0, hiddenStates: true, beginToken: -1, endToken: -1 },
      ...{ endTokens: [], devices: [] },
      ...limits
    }
    this.histories = Array.from({ length: this.description.sequences }, () => [])
    this.#death.promise.catch(() => {})
  }

  /** Calls wait until the function that it returns is called. */
  pause(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gate = promise
    return resolve
  }

  /** One call after the other, as the contract says. */
  #inTurn<T>(call: () => T): Promise<T> {
    const gate = this.#gate
    const death = this.#death.promise
    const result = this.#last
      .then(() => Promise.race([death, gate]))
      .then(() => {
        if (this.#isDead) throw new EngineError('DIED', 'the process is gone')
        return call()
      })
    this.#last = result.catch(() => {})
    return result
  }

  run(groups: readonly RowGroup[]): Promise<BatchResult> {
    const ms = this.duration(groups.reduce((rows, { tokens }) => rows + tokens.length, 0))
    if (ms > 0) {
      const death = this.#death.promise
      const slept = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
      this.#last = this.#last.then(() => Promise.race([slept(), death])).catch(() => {})
    }
    return this.#inTurn(() => {
      this.batches.push(groups)
      if (groups.some(({ tokens }) => tokens.some((token) => this.refusedTokens.has(token)))) {
        throw new EngineError('INPUT', 'a token is outside of the vocabulary')
      }
      return { groups: groups.map((group) => this.#compute(group)), computeMs: 1 }
    })
  }

  #compute({ sequence, position, tokens, output }: RowGroup): GroupResult {
    const history = this.histories[sequence] as number[]
    const error =
      position === history.length
        ? this.failing.get(sequence)
        : new EngineError('INPUT', `rows at ${position} don't follow ${history.length}`)
    if (error !== undefined) return { error }
    const drawn = Array.from(tokens, (token) => {
      history.push(token)
      return nextToken(history)
    })
    if (output === 'hidden') return { hidden: Float32Array.from(drawn.flatMap((value) => [value, -value])) }
    if (output === 'none') return {}
    return { sampled: Int32Array.from(output === 'sample-all' ? drawn : drawn.slice(-1)) }
  }

  truncate(sequence: number, length: number): Promise<number> {
    return this.#inTurn(() => {
      const history = this.histories[sequence] as number[]
      history.length = Math.min(history.length, length)
      return history.length
    })
  }

  drop(sequence: number): Promise<void> {
    return this.#inTurn(() => {
      this.histories[sequence] = []
    })
  }

  setSampler(): Promise<void> {
    return this.#inTurn(() => {})
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  onStateChange(listener: (state: 'died' | 'restarted', detail: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Its process dies: all calls reject until it is back. */
  die(reason = 'signal SIGKILL'): void {
    this.#isDead = true
    this.#gate = Promise.resolve()
    this.#death.reject(new EngineError('DIED', reason))
    for (const listener of this.#listeners) listener('died', reason)
  }

  /** Dies if it has not yet, and is back at once. */
  restart(reason?: string): void {
    if (!this.#isDead) this.die(reason)
    this.#isDead = false
    this.#death = Promise.withResolvers()
    this.#death.promise.catch(() => {})
    this.description = { ...this.description, process: this.description.process + 1 }
    this.histories.forEach((_, sequence) => {
      this.histories[sequence] = []
    })
    for (const listener of this.#listeners) listener('restarted', '')
  }

  copy = unused
  save = unused
  restore = unused
  tokenize = unused
  pieces = unused
  devices = unused
  memory = unused
}

/** What the ArithmeticEngine draws after these ids. */
export function nextToken(history: readonly number[]): number {
  return history.reduce((sum, token, index) => (sum * 31 + token + index) % 997, 7)
}

function unused(): never {
  throw new Error('no test of the stage uses this')
}
