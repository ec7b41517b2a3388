/** A short answer over a chain, timed: what was predicted of it, and where a token's time went. */
import type { RowCodec } from '../net/index.ts'
import { type Drafter, defaultSampler, openSession, type SpeculationFigures } from '../session/index.ts'
import { type Busyness, type ChainHop, costOf, type HostedStage, type Place } from '../swarm/index.ts'
import type { Node } from './node.ts'

/** Where one token's time went at a hop, in milliseconds; queue and compute are medians, as the stage reports them. */
export interface HopTime {
  readonly peer: string
  readonly start: number
  readonly end: number
  readonly queueMs: number
  readonly computeMs: number
  /** Half the round trip from the hop before, or from here. */
  readonly wireMs: number
}

export interface TimedAnswer {
  readonly tokens: number
  readonly firstTokenMs: number
  /** From token to token, the first ones left out. */
  readonly tokenMs: number
  readonly hops: readonly HopTime[]
  /** Things that happened to the chain meanwhile: figures with any are not worth much. */
  readonly changes: number
  /** Undefined: nothing was guessed. */
  readonly guesses: SpeculationFigures | undefined
}

export interface AnswerInit {
  readonly chain: readonly ChainHop[]
  readonly prompt: Int32Array
  readonly tokens: number
  /** Round trips between nodes, in milliseconds. */
  readonly roundTripMs: (from: string, to: string) => number
  /** What hidden states travel in; default f32. */
  readonly codec?: RowCodec
  /** Guesses ahead; absent: no speculation. */
  readonly drafter?: Drafter
  readonly signal: AbortSignal
}

/** An answer that takes longer is cut short. */
const ANSWER_MS = 30_000
/** A bench is not worth a longer wait for somebody who takes over a lost hop. */
const WAIT_MS = 10_000
const LOAD_MS = 2_000
/** Tokens that are left out of a long answer's speed: code and caches get warm. */
const COLD_TOKENS = 8

/** Greedy, and on after an end token: it is the time that counts. Throws a SessionError, or the signal's reason. */
export async function timeAnswer(node: Node, init: AnswerInit): Promise<TimedAnswer> {
  const { chain, prompt, tokens, roundTripMs, drafter, codec, signal } = init
  let changes = 0
  const session = await openSession(
    { host: node.host, relays: node.relays, directory: node.swarm },
    {
      ...{ chain, codec, sampler: defaultSampler(), waitMs: WAIT_MS, signal },
      reserve: prompt.length + tokens,
      onEvent: () => {
        changes += 1
      },
      ...(drafter === undefined ? {} : { drafter })
    }
  )
  const drawnAt: number[] = []
  const onDraw = (): void => void drawnAt.push(performance.now())
  const startedAt = performance.now()
  try {
    const options = { maxTokens: tokens, endTokens: new Set<number>(), waitMs: WAIT_MS, onDraw, signal }
    for await (const _ of session.generate(prompt, options)) {
      if (drawnAt.length > 1 && performance.now() - startedAt > ANSWER_MS) break
    }
  } finally {
    await session.close() // the stages' last reports come with it
  }
  const warmAt = drawnAt.slice(drawnAt.length > 2 * COLD_TOKENS ? COLD_TOKENS : 0)
  const [first, warm, last] = [drawnAt[0], warmAt[0], warmAt.at(-1)] as [number, number, number]
  let before = node.host.peerId
  const hops = session.figures.map(({ queueMs, computeMs }, index) => {
    const { peer, start, end } = session.chain[index] as ChainHop
    const wireMs = roundTripMs(before, peer) / 2
    before = peer
    return { peer, start, end, queueMs, computeMs, wireMs }
  })
  const tokenMs = (last - warm) / (warmAt.length - 1)
  const guesses = session.speculation
  return { tokens: drawnAt.length, firstTokenMs: first - startedAt, tokenMs, hops, changes, guesses }
}

/** What the router would say that a token takes, in milliseconds, from what the stages say of their load now. */
export async function predictedTokenMs(
  node: Node,
  { chain, prompt, tokens, roundTripMs, signal }: AnswerInit
): Promise<number> {
  const loads = new Map(
    await Promise.all(chain.map(async (hop) => [hop.stage, await busynessOf(node, hop, signal)] as const))
  )
  const cost = (answerTokens: number): number =>
    costOf(chain, {
      ...{ promptTokens: prompt.length, answerTokens, consumer: { peer: node.host.peerId } },
      rttFrom: (from: Place) => (to: Place) => roundTripMs(from.peer, to.peer),
      busynessOf: (hop) => loads.get(hop.stage)
    })
  return (cost(tokens + 1) - cost(1)) / tokens
}

/** Undefined where it does not say. */
async function busynessOf(
  { host }: Node,
  { peer, addresses, stage }: HostedStage,
  signal: AbortSignal
): Promise<Busyness | undefined> {
  const { model, start, end } = stage
  const either = AbortSignal.any([signal, AbortSignal.timeout(LOAD_MS)])
  try {
    const answer = await host.ask(peer, [...addresses], { type: 'load', model }, either)
    const load =
      answer.type === 'load'
        ? answer.stages.find((each) => each.start === start && each.end === end)
        : undefined
    if (load === undefined) return undefined
    return { waitMs: load.waitMicroseconds / 1000, stepMs: load.stepMicroseconds / 1000 }
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}
