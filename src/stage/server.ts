/** Brings control and data streams of sessions together, on all stages of a node. */
import type { ControlMessage, ControlStream, DataReceiver, Host, Open, StageInfo } from '../net/index.ts'
import { StageSession, samplerSettings } from './session.ts'
import type { Place, Refusal, Stage } from './stage.ts'

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

  async stop(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.end()))
  }

  /** A consumer opened a control stream. */
  control(stream: ControlStream): void {
    let opening: Promise<StageSession | undefined> | undefined
    const deadline = setTimeout(() => {
      if (opening === undefined) stream.abort(new Error('no Open came in time'))
    }, FIRST_MESSAGE_MS)
    const receive = (message: ControlMessage): void => {
      if (message.type === 'ping') stream.send({ type: 'pong', nonce: message.nonce })
      else if (message.type === 'close')
        void (opening ?? Promise.resolve(undefined)).then((session) => session?.end() ?? stream.close())
      else if (message.type === 'open' && opening === undefined) {
        clearTimeout(deadline)
        opening = this.#open(stream, message)
      }
    }
    const end = (): void => {
      clearTimeout(deadline)
      void opening?.then((session) => session?.end())
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
    if (this.#early.size >= MAX_EARLY_DATA || this.#early.has(key)) return Promise.resolve(undefined)
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

  async #open(stream: ControlStream, open: Open): Promise<StageSession | undefined> {
    const refuse = ({ code, message }: Refusal): undefined => {
      stream.send({ type: 'refused', code, message })
      void stream.close()
    }
    const stage = this.#stages.find((candidate) => candidate.serves(open))
    if (stage === undefined) {
      const message = `no stage here computes blocks [${open.start}, ${open.end}) of this model`
      return refuse({ code: 'span', message })
    }
    const key = keyOf(open.ticketIn)
    if (this.#byTicket.has(key)) return refuse({ code: 'ticket', message: 'this ticket is in use' })
    const problem = stage.check(open)
    if (problem !== undefined) return refuse(problem)
    const place = stage.admit(open)
    if ('code' in place) return refuse(place)

    const session = new StageSession(stage, stream, place, open)
    this.#sessions.add(session)
    this.#byTicket.set(key, session)
    void session.ended.then(() => {
      this.#sessions.delete(session)
      this.#byTicket.delete(key)
    })
    this.#early.get(key)?.(session)
    await this.#prepare(stage, session, place, open)
    return session
  }

  /** All hops of a chain do this at once, not in turn. */
  async #prepare(stage: Stage, session: StageSession, place: Place, { next, sampler }: Open): Promise<void> {
    try {
      if (sampler !== undefined) await stage.engine.setSampler(place.sequence, samplerSettings(sampler))
    } catch (error) {
      return session.failed('input', messageOf(error))
    }
    try {
      if (next !== undefined) {
        session.sendTo(await this.#host.openData(next.peer, next.addresses, next.ticket))
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
