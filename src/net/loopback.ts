/**
 * What a node opens to itself: libp2p can't dial the node that it is, and what would be encoded need not be. Everything
 * keeps to `types.ts`, as between nodes: what is sent is delivered in a microtask, never from within `send`.
 */
import { NetError } from './errors.ts'
import { LoopbackEnd } from './loopback-end.ts'
import { checkTicket, HANDSHAKE_TIMEOUT_MS } from './protocols.ts'
import { rejected } from './raw-stream.ts'
import type { ControlStream, DataReceiver, DataSender, Handlers, HostLogger, Listener } from './types.ts'
import { checkFrame, checkReceived, encodedLength } from './wire/frame.ts'
import { copyControl, copyInfo, swarmAnswers, swarmRequests } from './wire/messages.ts'
import type {
  Accepted,
  ControlMessage,
  Frame,
  FrameLimits,
  Info,
  SwarmAnswer,
  SwarmRequest
} from './wire/types.ts'

/** A control message's size is of no account: what it holds is small, and who gets it always reads. */
const NO_BYTES = 0
const UNSUPPORTED: SwarmAnswer = { type: 'refused', code: 'unsupported', message: 'not a member of a swarm' }

export class Loopback {
  readonly #peer: string
  readonly #handlers: () => Handlers
  readonly #logger: Pick<HostLogger, 'error'>
  /** One end of each stream that is open. */
  readonly #open = new Set<LoopbackEnd<never, never>>()

  /** `handlers` throws where the node serves nobody. */
  constructor(peer: string, handlers: () => Handlers, logger: Pick<HostLogger, 'error'>) {
    this.#peer = peer
    this.#handlers = handlers
    this.#logger = logger
  }

  /** Ends all streams. */
  stop(error: Error): void {
    for (const end of this.#open) end.abort(error)
  }

  async info(): Promise<Info> {
    return copyInfo(this.#handlers().info())
  }

  async ask(request: SwarmRequest, signal?: AbortSignal): Promise<SwarmAnswer> {
    signal?.throwIfAborted()
    const answer = await this.#handlers().ask?.(this.#peer, swarmRequests.copy(request))
    signal?.throwIfAborted()
    return swarmAnswers.copy(answer ?? UNSUPPORTED)
  }

  async openControl(signal?: AbortSignal): Promise<ControlStream> {
    if (signal?.aborted) throw gaveUp(signal)
    const [ours, theirs] = this.#pair<ControlMessage, ControlMessage>()
    queueMicrotask(() => {
      try {
        this.#handlers().control(new LoopbackControl(this.#peer, theirs))
      } catch (error) {
        theirs.abort(error as Error)
      }
    })
    return new LoopbackControl(this.#peer, ours)
  }

  async openData(ticket: Uint8Array, signal?: AbortSignal): Promise<DataSender> {
    checkTicket(ticket)
    const deadline = AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS)
    const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline])
    if (either.aborted) throw gaveUp(either)
    const [ours, theirs] = this.#pair<Frame, never>()
    const cancel = (): void => ours.abort(gaveUp(either))
    either.addEventListener('abort', cancel)
    const refused = ours.closed.then((cause): never => {
      if (either.aborted) throw gaveUp(either)
      throw new NetError('REFUSED', 'this node did not accept its own data stream', { cause })
    })
    refused.catch(() => {}) // the stream ends some time
    try {
      const accepting = Promise.try(() => this.#accept(new Uint8Array(ticket), theirs))
      return new LoopbackSender(this.#peer, ours, await Promise.race([accepting, refused]))
    } catch (error) {
      ours.abort(error as Error)
      if (error instanceof NetError) throw error
      throw new NetError('REFUSED', 'this node did not accept its own data stream', { cause: error })
    } finally {
      either.removeEventListener('abort', cancel)
    }
  }

  async #accept(ticket: Uint8Array, end: LoopbackEnd<never, Frame>): Promise<Accepted> {
    const accepted = await this.#handlers().data(ticket, new LoopbackReceiver(this.#peer, end))
    if (accepted !== undefined) return { ...accepted }
    throw new NetError('REFUSED', 'this node presented itself a ticket that nobody gave out')
  }

  #pair<A, B>(): [LoopbackEnd<A, B>, LoopbackEnd<B, A>] {
    const [ours, theirs] = LoopbackEnd.pair<A, B>((thrown) => {
      this.#logger.error(`a listener threw at the end of a stream: ${String(thrown)}`)
    })
    const any = ours as LoopbackEnd<never, never>
    this.#open.add(any)
    void ours.closed.then(() => this.#open.delete(any))
    return [ours, theirs]
  }
}

function gaveUp(signal: AbortSignal): NetError {
  return new NetError('DIAL_FAILED', 'this node did not answer itself in time, or we gave up', {
    cause: signal.reason
  })
}

class LoopbackControl implements ControlStream {
  readonly peer: string
  readonly #end: LoopbackEnd<ControlMessage, ControlMessage>

  constructor(peer: string, end: LoopbackEnd<ControlMessage, ControlMessage>) {
    this.peer = peer
    this.#end = end
  }

  get closed(): Promise<Error | undefined> {
    return this.#end.closed
  }

  start(listener: Listener<ControlMessage>): void {
    this.#end.start(listener)
  }

  send(message: ControlMessage): boolean {
    const copy = copyControl(message)
    if (this.#end.hasEnded) return false
    void this.#end.send(copy, NO_BYTES)
    return true
  }

  close(): Promise<void> {
    return this.#end.close()
  }

  abort(error: Error): void {
    this.#end.abort(error)
  }
}

class LoopbackSender implements DataSender {
  readonly peer: string
  readonly accepted: Accepted
  readonly #end: LoopbackEnd<Frame, never>

  constructor(peer: string, end: LoopbackEnd<Frame, never>, accepted: Accepted) {
    this.peer = peer
    this.#end = end
    this.accepted = accepted
  }

  get closed(): Promise<Error | undefined> {
    return this.#end.closed
  }

  get bytesSent(): number {
    return this.#end.bytesSent
  }

  send(frame: Frame): Promise<void> {
    try {
      checkFrame(frame)
      return this.#end.send({ ...frame }, encodedLength(frame))
    } catch (error) {
      return rejected(error)
    }
  }

  close(): Promise<void> {
    return this.#end.close()
  }

  abort(error: Error): void {
    this.#end.abort(error)
  }
}

class LoopbackReceiver implements DataReceiver {
  readonly peer: string
  readonly #end: LoopbackEnd<never, Frame>

  constructor(peer: string, end: LoopbackEnd<never, Frame>) {
    this.peer = peer
    this.#end = end
  }

  get closed(): Promise<Error | undefined> {
    return this.#end.closed
  }

  get bytesReceived(): number {
    return this.#end.bytesReceived
  }

  start(limits: FrameLimits, listener: Listener<Frame>): void {
    this.#end.start({
      receive: (frame) => listener.receive(checkReceived(frame, limits)),
      end: (error) => listener.end(error)
    })
  }

  pause(): void {
    this.#end.pause()
  }

  resume(): void {
    this.#end.resume()
  }

  abort(error: Error): void {
    this.#end.abort(error)
  }
}
