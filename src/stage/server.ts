/** Brings control and data streams of sessions together, on all stages of a node. */
import { aborted } from '../common/index.ts'
import {
  type Accepted,
  bytesPerRow,
  type ControlMessage,
  type ControlStream,
  type DataReceiver,
  type Open,
  type Resume,
  type Rewire,
  type RowCodec,
  type SessionHost,
  type StageInfo,
  type StageLoad
} from '../net/index.ts'
import { Outlet } from './outlet.ts'
import { type Refusal, refused } from './refusal.ts'
import { ReplayLog } from './replay-log.ts'
import { StageSession } from './session.ts'
import type { Stage } from './stage.ts'

/** A consumer opens all hops at once, so a data stream may come before its `Open`: this long it may wait. */
const EARLY_DATA_MS = 5_000
/** Data streams that wait at once; more are refused, since anybody may open them. */
const MAX_EARLY_DATA = 64
const LEAVING: Refusal = { code: 'stopping', message: 'this node is leaving' }
const PAUSED: Refusal = { code: 'stopping', message: 'this node takes no new sessions now' }
/** A control stream that says nothing is not kept. */
const FIRST_MESSAGE_MS = 10_000

export interface StageServerComponents {
  readonly host: Pick<SessionHost, 'openData'>
}

/** Rows of a session that were computed here. */
export interface ComputedRows {
  /** Peer id. */
  readonly consumer: string
  readonly rows: number
  /** That they went through. */
  readonly blocks: number
  /** No others of the session were before. */
  readonly isFirst: boolean
}

export interface StageServerInit {
  /** Where replay logs that outgrow memory go on; undefined: they don't, and memory is all there is. */
  readonly logFolder?: string
  /** Bytes of a session's replay log that are kept in memory. */
  readonly logMemoryBytes?: number
  readonly onComputed?: ((computed: ComputedRows) => void) | undefined
}

export class StageServer {
  readonly #host: Pick<SessionHost, 'openData'>
  readonly #init: StageServerInit
  readonly #stages: Stage[] = []
  readonly #sessions = new Set<StageSession>()
  /** Sessions by their consumer and the id that it gave them. */
  readonly #byId = new Map<string, StageSession>()
  /** Sessions by the ticket that the hop before has to present. */
  readonly #byTicket = new Map<string, StageSession>()
  readonly #early = new Map<string, (session: StageSession | undefined) => void>()
  /** Stages that take no new sessions any more. */
  readonly #retiring = new Set<Stage>()
  /** Why no new sessions are taken by any stage. */
  #leaving: Refusal | undefined
  /** Resolved, and replaced, whenever a session ends. */
  #ended = Promise.withResolvers<void>()

  constructor({ host }: StageServerComponents, init: StageServerInit = {}) {
    this.#host = host
    this.#init = init
  }

  add(stage: Stage): void {
    this.#stages.push(stage)
  }

  /** Of those that take sessions: none while none are taken. */
  get infos(): StageInfo[] {
    return this.#serving.map(({ info }) => info)
  }

  /** How busy the stages of a model are. */
  loads(model: string): StageLoad[] {
    return this.#serving.filter(({ info }) => info.model === model).map(({ load }) => load)
  }

  get #serving(): Stage[] {
    return this.#leaving === undefined ? this.#stages.filter((stage) => !this.#retiring.has(stage)) : []
  }

  /** Sessions open now. */
  get sessions(): number {
    return this.#sessions.size
  }

  /** Takes no new sessions; those that run go on. */
  pause(): void {
    this.#leaving ??= PAUSED
  }

  /** Takes new sessions again, after `pause` or `drain`. */
  resume(): void {
    this.#leaving = undefined
  }

  /**
   * Takes no new sessions, tells the consumers of those that run, and resolves when all have moved elsewhere or
   * ended, or when the signal fires.
   */
  async drain(signal?: AbortSignal): Promise<void> {
    this.#leaving = LEAVING
    await this.#left(() => [...this.#sessions], signal)
  }

  /** As `drain`, for one stage. Sessions that are still there when the signal fires are ended, and it is let go of. */
  async retire(stage: Stage, signal?: AbortSignal): Promise<void> {
    this.#retiring.add(stage)
    const guests = (): StageSession[] => [...this.#sessions].filter((session) => session.stage === stage)
    await this.#left(guests, signal)
    await end(guests())
    this.#stages.splice(this.#stages.indexOf(stage), 1)
    this.#retiring.delete(stage)
  }

  /** Tells them to go, and resolves when they have gone, or when the signal fires. */
  async #left(guests: () => StageSession[], signal?: AbortSignal): Promise<void> {
    for (const session of guests()) session.leave()
    const given = signal === undefined ? [] : [aborted(signal)]
    while (guests().length > 0 && !signal?.aborted) await Promise.race([this.#ended.promise, ...given])
  }

  /** Ends all sessions, and takes no new ones. */
  async stop(): Promise<void> {
    this.#leaving = LEAVING
    for (const settle of [...this.#early.values()]) settle(undefined)
    await end([...this.#sessions])
  }

  /** A consumer opened a control stream. */
  control(stream: ControlStream): void {
    let session: StageSession | undefined
    let isAnswered = false
    const deadline = setTimeout(() => stream.abort(new Error('no Open came in time')), FIRST_MESSAGE_MS)
    const receive = (message: ControlMessage): void => {
      if (session !== undefined) {
        if (message.type === 'rewire') this.#rewired(session, message)
        session.receive(message)
        return
      }
      if (isAnswered) return
      isAnswered = true
      clearTimeout(deadline)
      if (message.type === 'open') session = this.#open(stream, message)
      else if (message.type === 'resume') session = this.#resume(stream, message)
      else void stream.close()
    }
    const end = (error?: Error): void => {
      clearTimeout(deadline)
      if (error === undefined) void session?.end()
      else session?.detach(stream)
    }
    stream.start({ receive, end })
  }

  /** A hop presents a ticket; see Handlers.data. */
  async data(ticket: Uint8Array, stream: DataReceiver): Promise<Accepted | undefined> {
    const key = hex(ticket)
    const session = this.#byTicket.get(key) ?? (await this.#awaitOpen(key, stream))
    return session?.receiveFrom(stream)
  }

  #awaitOpen(key: string, { closed }: DataReceiver): Promise<StageSession | undefined> {
    const isRefused = this.#early.size >= MAX_EARLY_DATA || this.#early.has(key)
    if (isRefused) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const settle = (session: StageSession | undefined): void => {
        clearTimeout(timer)
        if (this.#early.get(key) === settle) this.#early.delete(key)
        resolve(session)
      }
      const timer = setTimeout(() => settle(undefined), EARLY_DATA_MS)
      this.#early.set(key, settle)
      void closed.then(() => settle(undefined)) // whoever was refused elsewhere does not wait
    })
  }

  #open(stream: ControlStream, open: Open): StageSession | undefined {
    const refuse = (refusal: Refusal): undefined => {
      stream.send(refused(refusal))
      void stream.close()
    }
    if (this.#leaving !== undefined) return refuse(this.#leaving)
    const stage = this.#serving.find((candidate) => candidate.serves(open))
    if (stage === undefined) return refuse(this.#notServed(open))
    const ticket = hex(open.ticketIn)
    const id = idOf(stream, open.session)
    if (this.#byTicket.has(ticket) || this.#byId.has(id)) {
      return refuse({ code: 'ticket', message: 'this ticket, or session, is in use' })
    }
    const problem = stage.check(open)
    if (problem !== undefined) return refuse(problem)
    const place = stage.admit(open.reserve)
    if ('code' in place) return refuse(place)

    const outlet = open.head ? undefined : this.#outlet(stage, open, () => session)
    const onComputed = this.#counter(stream.peer, open)
    const session = new StageSession(stage, stream, { open, place, outlet, onComputed })
    this.#sessions.add(session)
    this.#byId.set(id, session)
    this.#byTicket.set(ticket, session)
    session.signal.addEventListener('abort', () => {
      this.#sessions.delete(session)
      this.#byId.delete(id)
      for (const [key, value] of this.#byTicket) if (value === session) this.#byTicket.delete(key)
      const { resolve } = this.#ended
      this.#ended = Promise.withResolvers()
      resolve()
    })
    this.#early.get(ticket)?.(session)
    void session.prepare(open)
    return session
  }

  #counter(consumer: string, { start, end }: Open): (rows: number) => void {
    let isFirst = true
    return (rows) => {
      this.#init.onComputed?.({ consumer, rows, blocks: end - start, isFirst })
      isFirst = false
    }
  }

  #outlet(stage: Stage, { profile }: Open, session: () => StageSession): Outlet {
    const codec = profile.codec as RowCodec // the stage has checked it
    const { logFolder: folder, logMemoryBytes: memoryBytes } = this.#init
    const log = new ReplayLog({
      codec,
      rowBytes: bytesPerRow(codec, stage.info.width),
      ...{ folder, ...(memoryBytes === undefined ? {} : { memoryBytes }) }
    })
    return new Outlet({
      log,
      dial: ({ peer, addresses, ticket }, signal) => this.#host.openData(peer, addresses, ticket, signal),
      onLinked: (ticket) => session().linked(ticket),
      onUnlinked: (ticket, message) => session().unlinked(ticket, message),
      onLost: (position) => session().lack(position)
    })
  }

  #resume(stream: ControlStream, { session: id, drawFrom }: Resume): StageSession | undefined {
    const session = this.#byId.get(idOf(stream, id))
    if (session === undefined) {
      stream.send(refused({ code: 'session', message: 'this session has ended here' }))
      void stream.close()
      return undefined
    }
    session.reattach(stream, drawFrom)
    return session
  }

  /** The ticket that the hop before presents from now on. */
  #rewired(session: StageSession, { ticketIn }: Rewire): void {
    if (ticketIn === undefined || session.signal.aborted) return
    const ticket = hex(ticketIn)
    const holder = this.#byTicket.get(ticket)
    if (holder === session) return
    if (holder !== undefined) {
      session.failed('ticket', 'this ticket is in use')
      return
    }
    for (const [key, value] of this.#byTicket) if (value === session) this.#byTicket.delete(key)
    this.#byTicket.set(ticket, session)
    this.#early.get(ticket)?.(session)
  }

  #notServed({ model, start, end }: Open): Refusal {
    const spans = this.infos.filter((info) => info.model === model)
    if (spans.length === 0) return { code: 'model', message: 'this node does not host the model' }
    const here = spans.map((span) => `${span.start}-${span.end}`).join(', ')
    return { code: 'span', message: `blocks ${start}-${end} can't be computed here: it hosts ${here}` }
  }
}

async function end(sessions: readonly StageSession[]): Promise<void> {
  for (const session of sessions) session.failed(LEAVING.code, LEAVING.message)
  await Promise.all(sessions.map((session) => session.end()))
}

/** Nobody but the consumer itself can say that it is back. */
function idOf(stream: ControlStream, session: Uint8Array): string {
  return `${stream.peer} ${hex(session)}`
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
