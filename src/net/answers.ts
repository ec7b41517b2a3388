// Streams that others open: who answers them, and how often a peer may ask.
import type { Connection, Stream } from '@libp2p/interface'
import type { Clock } from '../common/index.ts'
import type { Protocol } from './connections.ts'
import { NetError } from './errors.ts'
import { type Libp2pNode, MAX_SESSION_STREAMS } from './libp2p.ts'
import * as protocols from './protocols.ts'
import { RawStream } from './raw-stream.ts'
import { RequestLimits } from './request-limits.ts'
import * as requests from './requests.ts'
import type { Handlers, HostLogger } from './types.ts'

const MAX_INFO_STREAMS = 8
const MAX_SWARM_STREAMS = 16
/** One for each model that both have or want, and some that ask for manifests. */
const MAX_PIECE_STREAMS = 64

interface Answer {
  answer(raw: RawStream, handlers: Handlers, unread: requests.Unread): void | Promise<void>
  /** Instead of `answer`, when the peer asks too often. Absent: it may. */
  refuse?(raw: RawStream, unread: requests.Unread): void | Promise<void>
  maxStreams: number
}

const ANSWERS: Readonly<Partial<Record<Protocol, Answer>>> = {
  [protocols.CONTROL_PROTOCOL]: { answer: protocols.answerControl, maxStreams: MAX_SESSION_STREAMS },
  [protocols.DATA_PROTOCOL]: { answer: protocols.answerData, maxStreams: MAX_SESSION_STREAMS },
  [protocols.INFO_PROTOCOL]: {
    answer: requests.answerInfo,
    refuse: requests.refuseInfo,
    maxStreams: MAX_INFO_STREAMS
  },
  [protocols.SWARM_PROTOCOL]: {
    answer: requests.answerSwarm,
    refuse: requests.refuseSwarm,
    maxStreams: MAX_SWARM_STREAMS
  },
  [protocols.PIECES_PROTOCOL]: {
    answer: protocols.answerPieces,
    refuse: protocols.refusePieces,
    maxStreams: MAX_PIECE_STREAMS
  }
}

export class Answers {
  readonly #logger: HostLogger
  readonly #limits: RequestLimits
  readonly #unread = new requests.Unread()
  #handlers: Handlers | undefined

  constructor(clock: Clock, logger: HostLogger, onFlood: (peer: string) => void) {
    this.#logger = logger
    this.#limits = new RequestLimits(clock, onFlood)
  }

  serve(handlers: Handlers): void {
    this.#handlers = handlers
  }

  /** Throws NetError REFUSED. */
  get handlers(): Handlers {
    if (this.#handlers === undefined) throw new NetError('REFUSED', 'this node serves nobody')
    return this.#handlers
  }

  async register(libp2p: Libp2pNode): Promise<void> {
    for (const [protocol, answer] of Object.entries(ANSWERS)) {
      const handler = (stream: Stream, connection: Connection) =>
        this.#answer(protocol as Protocol, answer, stream, connection)
      await libp2p.handle(protocol, handler, {
        maxInboundStreams: answer.maxStreams,
        maxOutboundStreams: answer.maxStreams,
        runOnLimitedConnection: true
      })
    }
  }

  #answer(protocol: Protocol, { answer, refuse }: Answer, stream: Stream, connection: Connection): void {
    const raw = new RawStream(stream, connection.remotePeer.toString(), protocols.MAX_UNSENT_BYTES[protocol])
    void raw.closed.then((error) => {
      if (error !== undefined) this.#logger.debug(`${protocol} from ${raw.peer}: ${error.message}`)
    })
    const fail = (error: unknown) => raw.abort(error instanceof Error ? error : new Error(String(error)))
    try {
      const { handlers } = this
      const isRefused = refuse !== undefined && !this.#limits.admits(raw.peer)
      const done = isRefused ? refuse(raw, this.#unread) : answer(raw, handlers, this.#unread)
      Promise.resolve(done).catch(fail)
    } catch (error) {
      fail(error)
    }
  }
}
