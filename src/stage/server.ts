/** Brings control and data streams of sessions together, on all stages of a node. */
import type { ControlMessage, ControlStream, DataReceiver, Host, Open, StageInfo } from '../net/index.ts'
import { codeOf } from './batcher.ts'
import { type Refusal, refused } from './refusal.ts'
import { samplerSettings } from './sampler.ts'
import { StageSession } from './session.ts'
import type { Place, Stage } from './stage.ts'

/** A consumer opens all hops at once, so a data stream may come before its `Open`: this long it may wait. */
const EARLY_DATA_MS = 5_000
/** Data streams that wait at once; more are refused, since anybody may open them. */
const MAX_EARLY_DATA = 64
/** A control stream that says nothing is not kept. */
const FIRST_MESSAGE_MS = 10_000

export interface StageServerComponents {
  readonly host: Pick<Host, 'openData'>
}

export class StageServer {
  readonly #host: Pick<Host, 'openData'>
  readonly #stages: Stage[] = []
  readonly #sessions = new Set<StageSession>()
  /** Sessions by the ticket that the hop before has to present. */
  readonly #byTicket = new Map<string, StageSession>()
  readonly #early = new Map<string, (session: StageSession | undefined) => void>()
  #isStopping = false

  constructor({ host }: StageServerComponents) {
    this.#host = host
  }

  add(stage: Stage): void {
    this.#stages.push(stage)
  }

  get infos(): StageInfo[] {
    return this.#stages.map(({ info }) => info)
  }

  /** Sessions open now. */
  get sessions(): number {
    return this.#sessions.size
  }

  /** Ends all sessions, and takes no new ones. */
  async stop(): Promise<void> {
    this.#isStopping = true
    for (const settle of [...this.#early.values()]) settle(undefined)
    const sessions = [...this.#sessions]
    for (const session of sessions) session.failed('stopping', 'this node is leaving')
    await Promise.all(sessions.map((session) => session.end()))
  }

  /** A consumer opened a control stream. */
  control(stream: ControlStream): void {
    let session: StageSession | undefined
    let isAnswered = false
    const deadline = setTimeout(() => stream.abort(new Error('no Open came in time')), FIRST_MESSAGE_MS)
    const answered = (): void => {
      isAnswered = true
      clearTimeout(deadline)
    }
    const receive = (message: ControlMessage): void => {
      if (message.type === 'ping') stream.send({ type: 'pong', nonce: message.nonce })
      else if (message.type === 'close') {
        answered()
        void (session === undefined ? stream.close() : session.end())
      } else if (message.type === 'open' && !isAnswered) {
        answered()
        session = this.#open(stream, message)
      }
    }
    const end = (): void => {
      answered()
      void session?.end()
    }
    stream.start({ receive, end })
  }

  /** A hop presents a ticket; see Handlers.data. */
  async data(ticket: Uint8Array, stream: DataReceiver): Promise<boolean> {
    const key = keyOf(ticket)
    const session = this.#byTicket.get(key) ?? (await this.#awaitOpen(key))
    if (session === undefined) return false
    session.receiveFrom(stream)
    return true
  }

  #awaitOpen(key: string): Promise<StageSession | undefined> {
    const isRefused = this.#isStopping || this.#early.size >= MAX_EARLY_DATA || this.#early.has(key)
    if (isRefused) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const settle = (session: StageSession | undefined): void => {
        clearTimeout(timer)
        this.#early.delete(key)
        resolve(session)
      }
      const timer = setTimeout(() => settle(undefined), EARLY_DATA_MS)
      this.#early.set(key, settle)
    })
  }

  #open(stream: ControlStream, open: Open): StageSession | undefined {
    const refuse = (refusal: Refusal): undefined => {
      stream.send(refused(refusal))
      void stream.close()
    }
    if (this.#isStopping) return refuse({ code: 'stopping', message: 'this node is leaving' })
    const stage = this.#stages.find((candidate) => candidate.serves(open))
    if (stage === undefined) return refuse(this.#notServed(open))
    const key = keyOf(open.ticketIn)
    if (this.#byTicket.has(key)) return refuse({ code: 'ticket', message: 'this ticket is in use' })
    const problem = stage.check(open)
    if (problem !== undefined) return refuse(problem)
    const place = stage.admit(open)
    if ('code' in place) return refuse(place)

    const session = new StageSession(stage, stream, place, open)
    this.#sessions.add(session)
    this.#byTicket.set(key, session)
    session.signal.addEventListener('abort', () => {
      this.#sessions.delete(session)
      this.#byTicket.delete(key)
    })
    this.#early.get(key)?.(session)
    void this.#prepare(stage, session, place, open)
    return session
  }

  #notServed({ model, start, end }: Open): Refusal {
    const spans = this.infos.filter((info) => info.model === model)
    if (spans.length === 0) return { code: 'model', message: 'this node does not host the model' }
    const here = spans.map((span) => `${span.start}-${span.end}`).join(', ')
    return { code: 'span', message: `blocks ${start}-${end} can't be computed here: it hosts ${here}` }
  }

  /** All hops of a chain do this at once, not in turn. */
  async #prepare(stage: Stage, session: StageSession, place: Place, open: Open): Promise<void> {
    const { head, next, sampler } = open
    try {
      if (head && sampler !== undefined) {
        const settings = samplerSettings(sampler, stage.engine.description.context)
        await stage.engine.setSampler(place.sequence, settings)
      }
    } catch (error) {
      return session.failed(codeOf(error), messageOf(error))
    }
    try {
      if (next !== undefined) {
        session.sendTo(await this.#host.openData(next.peer, next.addresses, next.ticket, session.signal))
      }
    } catch (error) {
      return session.failed('next', `the next hop cannot be reached: ${messageOf(error)}`)
    }
    session.opened()
  }
}

function keyOf(ticket: Uint8Array): string {
  return Buffer.from(ticket).toString('hex')
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
