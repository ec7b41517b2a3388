/** Stages in memory that do what they are asked at once, unless a test takes over; and what all session tests use. */
import { expect } from 'vitest'
import { FakeControl, FakeData } from '../../test/streams.ts'
import type { ControlMessage, Pong, SessionHost } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { SessionError } from './errors.ts'

export const NO_END: ReadonlySet<number> = new Set()
/** Their best two tokens are apart by 0.018 at least all along, and rounding moves logits by far less. */
export const FISH = 'Tell me a story about a little fish.'
export const SUN = 'The sun was warm and'

export async function all(answer: AsyncIterable<number>): Promise<number[]> {
  const tokens: number[] = []
  for await (const token of answer) tokens.push(token)
  return tokens
}

/** The SessionError that `work` rejects with. */
export async function failure(work: Promise<unknown>): Promise<SessionError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason
  )
  expect(error).toBeInstanceOf(SessionError)
  return error as SessionError
}

/** A control stream whose other end is a stage without an engine. */
export class FakeStage extends FakeControl {
  /** What it says of itself when asked. */
  readonly standing = { epoch: 0, length: 0, computed: 0, receivedBytes: 0, stepMicroseconds: 0 }
  /** The version of its sampler that it tells; undefined: it knows none. */
  sampler: number | undefined
  /** Messages that it leaves to the test. */
  readonly ignored = new Set<ControlMessage['type']>()

  override send(message: ControlMessage): boolean {
    super.send(message)
    if (!this.ignored.has(message.type)) queueMicrotask(() => this.#answer(message))
    return true
  }

  #answer(message: ControlMessage): void {
    switch (message.type) {
      case 'open':
        this.say({ type: 'opened', maxRows: 512, capacity: message.reserve, sampler: this.sampler })
        if (message.next !== undefined) this.say({ type: 'linked', ticket: message.next.ticket })
        break
      case 'resume':
        this.say({ type: 'opened', maxRows: 512, capacity: 100, sampler: this.sampler })
        break
      case 'rewire':
        if (message.next !== undefined) this.say({ type: 'linked', ticket: message.next.ticket })
        break
      case 'extend':
        this.say({ type: 'extended', capacity: message.reserve })
        break
      case 'ping':
        this.say(this.pong(message.nonce))
        break
      case 'close':
        this.end()
        break
    }
  }

  pong(nonce: number): Pong {
    return { type: 'pong', nonce, ...this.standing }
  }

  /** The messages of one type that were sent to it. */
  received<T extends ControlMessage['type']>(type: T): Extract<ControlMessage, { type: T }>[] {
    return this.sent.filter(
      (message): message is Extract<ControlMessage, { type: T }> => message.type === type
    )
  }
}

/** Gives a new stream for each call, with a FakeStage or a FakeData at its other end. */
export class FakeHost implements SessionHost {
  readonly peerId = 'me'
  readonly addresses = ['/me']
  readonly peers: string[] = []
  /** Control streams in the order in which they were asked for. */
  readonly controls: { readonly peer: string; readonly stage: FakeStage }[] = []
  readonly data: { readonly peer: string; readonly ticket: Uint8Array; readonly stream: FakeData }[] = []
  readonly unreachable = new Set<string>()
  /** What data streams take per frame. */
  maxRows = 512
  /** Before anything is sent on a new stream. */
  onControl: (peer: string, stage: FakeStage) => void = () => {}

  async openControl(peer: string): Promise<FakeStage> {
    if (this.unreachable.has(peer)) throw new Error(`cannot reach ${peer}`)
    const stage = new FakeStage()
    this.controls.push({ peer, stage })
    this.onControl(peer, stage)
    return stage
  }

  async openData(peer: string, _addresses: string[], ticket: Uint8Array): Promise<FakeData> {
    if (this.unreachable.has(peer)) throw new Error(`cannot reach ${peer}`)
    const stream = new FakeData({ maxRows: this.maxRows })
    this.data.push({ peer, ticket, stream })
    return stream
  }

  /** The other end of the last control stream to it. */
  stage(peer: string): FakeStage {
    const found = this.controls.findLast((control) => control.peer === peer)
    if (found === undefined) throw new Error(`nobody has called ${peer}`)
    return found.stage
  }

  connect = unused
  info = unused
  serve = unused
  onDisconnect = unused
  async start(): Promise<void> {}
  async stop(): Promise<void> {}
}

function unused(): never {
  throw new Error('no test of the session uses this')
}

/** A place in a chain: `end` is where the chain leaves it, and its span if not told otherwise. */
export function place(peer: string, start: number, end: number, span = { start, end }): ChainHop {
  const profile = { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
  const stage = {
    ...{ model: 'a'.repeat(64), name: 'm', architecture: 'llama', blockCount: 8, width: 4, profile },
    ...{ start: span.start, end: span.end, head: span.end === 8, embedding: span.start === 0 },
    ...{ context: 1024, maxRows: 512 }
  }
  return { peer, addresses: [`/to/${peer}`], stage, start, end }
}
