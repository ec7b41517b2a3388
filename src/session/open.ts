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

/** Opens control streams to all hops at once. Throws a SessionError. */
export async function openSession(components: { host: Host }, init: SessionInit): Promise<Session> {
  const { host } = components
  const { chain } = init
  const first = chain[0]
  if (first === undefined) throw new SessionError('INPUT', 'The chain has no hops.')
  const deadline = AbortSignal.timeout(OPEN_MS)
  const signal = init.signal === undefined ? deadline : AbortSignal.any([init.signal, deadline])
  const opens = openMessages(init)
  const controls: ControlStream[] = []
  let data: DataSender | undefined
  try {
    const dialled = await Promise.all(
      chain.map(async ({ peer, addresses }, index) => {
        const control = await reach(index, host.openControl(peer, [...addresses], signal))
        controls.push(control)
        return control
      })
    )
    const session = new ChainSession(chain, dialled, init.reserve)
    for (const [index, control] of dialled.entries()) control.send(opens[index] as Open)
    const ticket = (opens[0] as Open).ticketIn
    const opening = reach(0, host.openData(first.peer, [...first.addresses], ticket, signal))
    opening.catch(() => {}) // the hop's refusal says more
    await session.opened(signal)
    data = await opening
    session.sendTo(data)
    return session
  } catch (error) {
    await Promise.all([...controls.map((control) => control.close()), data?.close()])
    throw error
  }
}

async function reach<T>(hop: number, attempt: Promise<T>): Promise<T> {
  try {
    return await attempt
  } catch (error) {
    throw new SessionError('LOST', `Hop ${hop} cannot be reached: ${(error as Error).message}`, hop)
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
