/** Sessions that decode at the same time, and when each of their tokens came. */
import type { Node } from '../src/node/index.ts'
import { defaultSampler, openSession, type Session } from '../src/session/index.ts'
import type { ChainHop } from '../src/swarm/index.ts'

/** Ids of a session's prompt: few, since decoding is what is measured. */
export const PROMPT_ROWS = 8

/** All shapes have more. */
const LEAST_IDS = 3_900
const NO_END = new Set<number>()

export function promptOf(session: number, rows = PROMPT_ROWS): Int32Array {
  return Int32Array.from({ length: rows }, (_, index) => 100 + ((session * 131 + index * 7) % LEAST_IDS))
}

export interface Crowd {
  /** When each token came, by session; grows while they decode. */
  readonly times: readonly (readonly number[])[]
  /** Resolves when each has so many tokens. */
  have(tokens: number): Promise<void>
  /** Ends all of them. */
  close(): Promise<void>
}

/** Opens sessions on a chain and has each decode up to `tokens` tokens. */
export async function startCrowd(
  node: Node,
  chain: readonly ChainHop[],
  init: { readonly sessions: number; readonly tokens: number }
): Promise<Crowd> {
  const { sessions, tokens } = init
  const reserve = PROMPT_ROWS + tokens
  const open = (): Promise<Session> => openSession(node, { chain, sampler: defaultSampler(), reserve })
  const first = await open() // and with it the hops' connections
  const opened = [first, ...(await Promise.all(Array.from({ length: sessions - 1 }, open)))]
  const abort = new AbortController()
  const times = opened.map((): number[] => [])
  let changed = Promise.withResolvers<void>()
  const decode = async (session: Session, index: number): Promise<void> => {
    const options = { maxTokens: tokens, endTokens: NO_END, signal: abort.signal }
    for await (const _ of session.generate(promptOf(index), options)) {
      times[index]?.push(performance.now())
      changed.resolve()
    }
  }
  const ended = Promise.all(opened.map(decode))
  ended.catch((error) => changed.reject(error))
  return {
    times,
    async have(count) {
      while (times.some(({ length }) => length < count)) {
        await changed.promise
        changed = Promise.withResolvers()
      }
    },
    async close() {
      changed.promise.catch(() => {})
      abort.abort()
      await ended.catch((error) => {
        if (!abort.signal.aborted) throw error
      })
      await Promise.all(opened.map((session) => session.close()))
    }
  }
}

/** Milliseconds between a session's tokens, of those that came in `(from, to]`. */
export function intervals(crowd: Crowd, from: number, to: number): number[] {
  return crowd.times.flatMap((times) =>
    times.flatMap((time, index) => {
      const before = times[index - 1]
      return before === undefined || time <= from || time > to ? [] : [time - before]
    })
  )
}

/** Of one session, sends a prompt and waits for its first token. Milliseconds. */
export async function timeToFirstToken(
  node: Node,
  chain: readonly ChainHop[],
  rows: number
): Promise<number> {
  const session = await openSession(node, { chain, sampler: defaultSampler(), reserve: rows + 1 })
  const started = performance.now()
  for await (const _ of session.generate(promptOf(77, rows), { maxTokens: 1, endTokens: NO_END }));
  const ended = performance.now()
  await session.close()
  return ended - started
}
