import { type RowCodec, type SamplerOptions, type SessionHost, speaks } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import type { ChainEvent } from './chain.ts'
import { ChainSession, type GenerateOptions, WAIT_MS } from './chain-session.ts'
import type { Drafter } from './drafter.ts'
import { SessionError } from './errors.ts'
import type { Relays } from './relay.ts'
import type { StageSource } from './spares.ts'
import type { SpeculationFigures } from './speculation.ts'
import type { HopFigures } from './statistics.ts'

export interface SessionComponents {
  readonly host: SessionHost
  /** Must get the data streams of `host` that it accepts; without it, frames are never passed on by us. */
  readonly relays?: Relays
  /** Where others are found when a hop is lost; default: only the nodes of the chain itself. */
  readonly directory?: StageSource
}

export interface SessionInit {
  readonly chain: readonly ChainHop[]
  readonly sampler: SamplerOptions
  /** What hidden states travel in; default f32. All hops have to speak it: see chooseCodec. */
  readonly codec?: RowCodec | undefined
  /** Positions to reserve in the beginning: the prompt and a first stretch. More are asked for on the way. */
  readonly reserve: number
  /** How long opening may wait for stages that are full, restarting or lost, in milliseconds; default 60,000. */
  readonly waitMs?: number
  /** Guesses what is drawn next, for this session alone, which closes it; without one nothing is guessed. */
  readonly drafter?: Drafter
  /** What happens to the chain, also between answers. */
  readonly onEvent?: (event: ChainEvent) => void
  readonly signal?: AbortSignal
}

export interface Session {
  /**
   * Yields drawn tokens after the conversation `tokens`, an end token included. What an earlier call has already
   * computed of the same prefix is not computed again. Hops that are lost meanwhile are replaced, and the answer
   * goes on; throws a SessionError when nobody can take over in time, or the signal's reason.
   */
  generate(tokens: Int32Array, options: GenerateOptions): AsyncGenerator<number, void>
  /** As it is now. */
  readonly chain: readonly ChainHop[]
  /** Per hop of the chain as it is now. */
  readonly figures: readonly HopFigures[]
  /** What guessing was like so far; undefined without a drafter. */
  readonly speculation: SpeculationFigures | undefined
  /** Frees the session at every hop. */
  close(): Promise<void>
}

/**
 * Opens the session at all hops at once. Throws a SessionError, or the signal's reason. Whatever was opened until
 * then is closed.
 */
export async function openSession(components: SessionComponents, init: SessionInit): Promise<Session> {
  const { host, relays, directory } = components
  if (init.chain.length === 0) throw new SessionError('INPUT', 'The chain has no hops.')
  const context = Math.min(...init.chain.map(({ stage }) => stage.context))
  if (init.reserve > context) {
    throw new SessionError('INPUT', `${init.reserve} positions are asked for, the stages have ${context}.`)
  }
  const { codec = 'f32' } = init
  const mute = init.chain.findIndex(({ stage }) => !speaks(stage, codec))
  if (mute >= 0) throw new SessionError('INPUT', `Hop ${mute + 1} does not speak codec ${codec}.`, mute)
  init.signal?.throwIfAborted()
  const source = directory ?? { stages: init.chain, refresh: async () => {} }
  const session = new ChainSession({ host, source, relays }, init)
  try {
    await session.open(init.waitMs ?? WAIT_MS, init.signal ?? new AbortController().signal)
    return session
  } catch (error) {
    await session.close()
    throw error
  }
}
