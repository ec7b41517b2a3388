/** A session over real nodes, and what happened to it. */
import type { TestSwarm } from '../../test/swarm.ts'
import type { Node } from '../node/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import {
  type ChainEvent,
  type GenerateOptions,
  openSession,
  type Session,
  type SessionInit
} from './index.ts'
import { defaultSampler } from './sampler.ts'
import type { StageSource } from './spares.ts'
import { all, NO_END } from './testing.ts'

export interface TalkInit extends Partial<SessionInit> {
  /** Default: of all nodes of the swarm. Undefined: nobody but the chain. */
  readonly directory?: StageSource | undefined
  readonly consumer?: Pick<Node, 'host' | 'relays'>
}

export class Talk {
  readonly session: Session
  readonly events: readonly ChainEvent[]

  private constructor(session: Session, events: readonly ChainEvent[]) {
    this.session = session
    this.events = events
  }

  static async open(swarm: TestSwarm, init: TalkInit = {}): Promise<Talk> {
    const events: ChainEvent[] = []
    const directory = 'directory' in init ? init.directory : await swarm.directory()
    const { host, relays } = init.consumer ?? swarm.consumer
    const session = await openSession(
      { host, relays, ...(directory === undefined ? {} : { directory }) },
      {
        ...{ sampler: defaultSampler(), reserve: 256, chain: init.chain ?? (await swarm.chain()), ...init },
        onEvent: (event) => {
          events.push(event)
          init.onEvent?.(event)
        }
      }
    )
    return new Talk(session, events)
  }

  get chain(): readonly ChainHop[] {
    return this.session.chain
  }

  /** The answer to `prompt`, in which `trouble` comes after five tokens. */
  async answer(
    prompt: Int32Array,
    maxTokens: number,
    trouble: () => Promise<unknown> | undefined = () => undefined,
    options: Partial<GenerateOptions> = {}
  ): Promise<number[]> {
    const answer = this.session.generate(prompt, { maxTokens, endTokens: NO_END, ...options })
    const drawn: number[] = []
    for (let count = 0; count < 5; count++) drawn.push((await answer.next()).value as number)
    const troubled = trouble()
    drawn.push(...(await all(answer)))
    await troubled
    return drawn
  }

  count(type: ChainEvent['type']): number {
    return this.events.filter((event) => event.type === type).length
  }

  /** Closes, so that all is reported, and gives the rows that each hop has computed. */
  async rows(): Promise<number[]> {
    await this.session.close()
    return this.session.figures.map((figures) => figures.rows)
  }
}
