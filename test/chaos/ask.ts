/** One answer, with when each token came and what happened to the chain meanwhile. */
import {
  type ChainEvent,
  type Drafter,
  defaultSampler,
  openSession,
  type Session,
  type SessionComponents
} from '../../src/session/index.ts'
import type { ChainHop } from '../../src/swarm/index.ts'

export interface Question {
  readonly chain: readonly ChainHop[]
  readonly prompt: Int32Array
  readonly maxTokens: number
  readonly waitMs?: number
  readonly drafter?: Drafter | undefined
  readonly onOpen?: (session: Session) => void
  /** Called with the number of tokens so far. Nobody waits for it. */
  readonly onToken?: (count: number) => void
  readonly onEvent?: (event: ChainEvent) => void
  readonly signal?: AbortSignal
}

export interface Told {
  readonly tokens: number[]
  /** By performance.now(). */
  readonly tokensAt: number[]
  readonly events: readonly { readonly at: number; readonly event: ChainEvent }[]
  /** Of the hops that were there at the end. */
  readonly rows: readonly number[]
  /** Guesses that were sent. */
  readonly guesses: number
}

const NO_END: ReadonlySet<number> = new Set()
/** A provider that takes over may have to be started first. */
const WAIT_MS = 30_000

/** Positions are reserved as `shoal run` does: for the prompt and a stretch of the answer. */
const STRETCH = 64

export async function ask(components: SessionComponents, question: Question): Promise<Told> {
  const { chain, prompt, maxTokens, waitMs = WAIT_MS, drafter, onOpen, onToken, onEvent, signal } = question
  const tokens: number[] = []
  const tokensAt: number[] = []
  const events: { at: number; event: ChainEvent }[] = []
  const given = signal === undefined ? {} : { signal }
  const session = await openSession(components, {
    ...{ chain, sampler: defaultSampler(), reserve: prompt.length + Math.min(maxTokens, STRETCH), waitMs },
    ...(drafter && { drafter }),
    onEvent: (event) => {
      events.push({ at: performance.now(), event })
      onEvent?.(event)
    },
    ...given
  })
  try {
    onOpen?.(session)
    for await (const token of session.generate(prompt, { maxTokens, endTokens: NO_END, waitMs, ...given })) {
      tokens.push(token)
      tokensAt.push(performance.now())
      onToken?.(tokens.length)
    }
  } finally {
    await session.close()
  }
  const guesses = session.speculation?.sent ?? 0
  return { tokens, tokensAt, events, rows: session.figures.map(({ rows }) => rows), guesses }
}

/** The longest time between two tokens, in milliseconds, of those that came after `since`. */
export function longestStall({ tokensAt }: Told, since: number): number {
  const stalls = tokensAt.map((at, index) => (at > since ? at - (tokensAt[index - 1] ?? since) : 0))
  return Math.max(...stalls)
}

/** Milliseconds from `since` to the first such event. */
export function noticedAfter({ events }: Told, type: ChainEvent['type'], since: number): number {
  const found = events.find(({ at, event }) => event.type === type && at >= since)
  return found === undefined ? Number.NaN : found.at - since
}
