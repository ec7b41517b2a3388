import { randomBytes } from 'node:crypto'
import type { ControlStream, DataSender, Host, Open, SamplerOptions } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { ChainSession, type GenerateOptions } from './chain-session.ts'
import { SessionError } from './errors.ts'
import type { HopFigures } from './statistics.ts'

/** A stage has this long to admit a session and reach its next hop. */
const OPEN_MS = 15_000
const TICKET_BYTES = 16

export interface SessionInit {
  readonly chain: readonly ChainHop[]
  readonly sampler: SamplerOptions
  /** Positions to reserve: prompt and answer. */
  readonly reserve: number
  readonly signal?: AbortSignal
}

export interface Session {
  /**
   * Yields drawn tokens after the conversation `tokens`, an end token included. What an earlier call has already
   * computed of the same prefix is not computed again.
   */
  generate(tokens: Int32Array, options: GenerateOptions): AsyncGenerator<number, void>
  /** Per hop of the chain. */
  readonly figures: readonly HopFigures[]
  /** Frees the session at every hop. */
  close(): Promise<void>
}

/**
 * Opens control streams to all hops at once. Throws a SessionError, or the signal's reason. Whatever was opened
 * until then is closed.
 */
export async function openSession(components: { host: Host }, init: SessionInit): Promise<Session> {
  const { host } = components
  const { chain, reserve } = init
  const first = chain[0]
  if (first === undefined) throw new SessionError('INPUT', 'The chain has no hops.')
  init.signal?.throwIfAborted()
  const giveUp = new AbortController()
  const given = init.signal === undefined ? [] : [init.signal]
  const signal = AbortSignal.any([AbortSignal.timeout(OPEN_MS), giveUp.signal, ...given])
  const opens = openMessages(init)
  const streams: Promise<ControlStream | DataSender>[] = []
  const reach = <T extends ControlStream | DataSender>(hop: number, stream: Promise<T>): Promise<T> => {
    const reached = stream.catch((error: Error) => {
      throw new SessionError('LOST', `Hop ${hop + 1} cannot be reached: ${error.message}`, hop)
    })
    streams.push(reached)
    return reached
  }
  try {
    const controls = await Promise.all(
      chain.map(({ peer, addresses }, hop) => reach(hop, host.openControl(peer, [...addresses], signal)))
    )
    const session = new ChainSession(chain, controls, reserve)
    for (const [hop, control] of controls.entries()) control.send(opens[hop] as Open)
    const { ticketIn } = opens[0] as Open
    const data = reach(0, host.openData(first.peer, [...first.addresses], ticketIn, signal))
    const [sender] = await Promise.all([data, session.opened(signal)])
    session.sendTo(sender)
    return session
  } catch (error) {
    giveUp.abort()
    await Promise.allSettled(streams.map(async (stream) => (await stream).close()))
    init.signal?.throwIfAborted()
    throw error
  }
}

/** Each hop gets the ticket that opens its data stream, and the ticket and addresses of the next. */
function openMessages({ chain, sampler, reserve }: SessionInit): Open[] {
  const session = randomBytes(TICKET_BYTES)
  const tickets = chain.map(() => randomBytes(TICKET_BYTES))
  return chain.map(({ stage, start, end }, index): Open => {
    const next = chain[index + 1]
    const head = next === undefined
    return {
      type: 'open',
      session,
      model: stage.model,
      start,
      end,
      head,
      profile: stage.profile,
      ticketIn: tickets[index] as Uint8Array,
      reserve,
      ...(next === undefined
        ? { sampler }
        : {
            next: {
              peer: next.peer,
              addresses: [...next.addresses],
              ticket: tickets[index + 1] as Uint8Array
            }
          })
    }
  })
}
