/** An Engine without a model, for tests, and a stage on it whose streams are in memory. */
import { vi } from 'vitest'
import { FakeControl, FakeData, FakeReceiver } from '../../test/streams.ts'
import type {
  BatchResult,
  Engine,
  EngineDescription,
  GroupResult,
  RowGroup,
  SamplerSettings
} from '../engine/index.ts'
import { EngineError } from '../engine/index.ts'
import type {
  Accepted,
  ControlMessage,
  DataSender,
  Frame,
  NextHop,
  Open,
  Profile,
  SamplerOptions
} from '../net/index.ts'
import { StageServer, type StageServerInit } from './server.ts'
import { Stage } from './stage.ts'

const WIDTH = 2

/** Its arithmetic is of the ids alone, and it keeps what it was asked. The tail adds its sampler's seed. */
export class ArithmeticEngine implements Engine {
  description: EngineDescription
  /** Every batch that was run, in order. */
  readonly batches: (readonly RowGroup[])[] = []
  /** The ids of each sequence. */
  readonly histories: number[][]
  readonly #seeds = new Map<number, number>()
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
    const sampled = drawn.map((token) => token + (this.#seeds.get(sequence) ?? 0))
    if (output === 'sample-last') return { sampled: Int32Array.from(sampled.slice(-1)) }
    const miss = sampled.findIndex((token, index) => token !== tokens[index + 1])
    return { sampled: Int32Array.from(sampled.slice(0, miss + 1)) }
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

  setSampler(sequence: number, { seed = 0, repeatPenalty }: SamplerSettings): Promise<void> {
    return this.#inTurn(() => {
      if (repeatPenalty === 0) throw new EngineError('INPUT', 'repeatPenalty must not be 0')
      this.#seeds.set(sequence, seed)
    })
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

const MODEL = 'a'.repeat(64)
const PROFILE: Profile = {
  ...{ kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
}
export const SAMPLER: SamplerOptions = {
  ...{ temperature: 0, topK: 0, topP: 1, minP: 0, penaltyLastN: 0, repeatPenalty: 1, frequencyPenalty: 0 },
  ...{ presencePenalty: 0, logitBias: [], seed: 0, grammar: '', generatedFrom: 0 }
}
const LIMITS = { context: 64, sequences: 2, maxRows: 8 }
export const FREE = { sequences: LIMITS.sequences, positions: LIMITS.context }

export interface TestStageInit extends StageServerInit {
  /** The first block; 0: it takes ids. Two blocks are hosted. */
  readonly start?: number
  /** Two more than `start`: it is the tail. */
  readonly blockCount: number
}

export interface TestSession {
  readonly message: Open
  readonly control: FakeControl
  readonly data: FakeReceiver
  readonly accepted: Accepted | undefined
}

/** A stage and its server over streams in memory. */
export class TestStage {
  readonly engine = new ArithmeticEngine(LIMITS)
  readonly stage: Stage
  readonly server: StageServer
  /** What dialling the next hop gives. */
  next = new FakeData()
  dial: (next: NextHop, signal: AbortSignal | undefined) => Promise<DataSender> = async () => this.next
  static #lastTicket = 0

  constructor({ start = 0, blockCount, ...init }: TestStageInit) {
    const span = { model: MODEL, name: 'm', architecture: 'llama', start, end: start + 2, blockCount }
    this.stage = new Stage({ engine: this.engine }, { ...span, profile: PROFILE })
    const openData = (
      peer: string,
      addresses: string[],
      ticket: Uint8Array,
      signal?: AbortSignal
    ): Promise<DataSender> => this.dial({ peer, addresses, ticket }, signal)
    this.server = new StageServer({ host: { openData } }, init)
    this.server.add(this.stage)
  }

  static async start(init: TestStageInit): Promise<TestStage> {
    const node = new TestStage(init)
    await node.stage.start()
    return node
  }

  ticket(): Uint8Array {
    TestStage.#lastTicket += 1
    const bytes = new Uint8Array(16)
    new DataView(bytes.buffer).setUint32(0, TestStage.#lastTicket)
    return bytes
  }

  nextHop(): NextHop {
    return { peer: 'b', addresses: [], ticket: this.ticket() }
  }

  openMessage(changes: Partial<Open> = {}): Open {
    const { model, start, end, head, profile } = this.stage.info
    return {
      ...{ type: 'open', session: this.ticket(), model, start, end, head, profile },
      ...{ ticketIn: this.ticket(), reserve: 32 },
      ...(head ? { sampler: SAMPLER } : { next: this.nextHop() }),
      ...changes
    }
  }

  /** A consumer opens a control stream and says something. */
  say(message: ControlMessage, peer?: string): FakeControl {
    const control = new FakeControl(peer)
    this.server.control(control)
    control.say(message)
    return control
  }

  /** An open session, and the stream from the hop before. */
  async open(changes: Partial<Open> = {}): Promise<TestSession> {
    const message = this.openMessage(changes)
    const control = this.say(message)
    const data = new FakeReceiver()
    const accepted = await this.server.data(message.ticketIn, data)
    await heard(control, 'opened')
    return { message, control, data, accepted }
  }

  becomesFree(): Promise<void> {
    return eventually(() => {
      const { sequences, positions } = this.stage.free
      if (sequences === FREE.sequences && positions === FREE.positions) return
      throw new Error(`${sequences} sequences and ${positions} positions are free`)
    })
  }
}

export function eventually<T>(check: () => T): Promise<T> {
  return vi.waitFor(check, { timeout: 5_000, interval: 2 })
}

export function heard<T extends ControlMessage['type']>(
  control: FakeControl,
  type: T
): Promise<Extract<ControlMessage, { type: T }>> {
  return eventually(() => {
    const message = control.sent.find((sent) => sent.type === type)
    if (message === undefined) throw new Error(`no ${type} among ${JSON.stringify(control.sent)}`)
    return message as Extract<ControlMessage, { type: T }>
  })
}

/** All messages of a type so far. */
export function said<T extends ControlMessage['type']>(
  control: FakeControl,
  type: T
): Extract<ControlMessage, { type: T }>[] {
  return control.sent.filter(
    (message): message is Extract<ControlMessage, { type: T }> => message.type === type
  )
}

/** Ids `position`, `position + 1`, ... for a first stage. */
export function idsAt(position: number, count: number, epoch = 0): Frame {
  const tokens = Int32Array.from({ length: count }, (_, index) => position + index)
  return { epoch, follows: 0, position, tokens, sample: 'last', codec: 'none', payload: new Uint8Array(0) }
}
