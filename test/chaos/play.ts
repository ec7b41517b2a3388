/** Plays a scenario: questions, the fault, and everything that must hold afterwards. */
import { setTimeout as delay } from 'node:timers/promises'
import { Node } from '../../src/node/index.ts'
import { type ChainHop, NamedNodes } from '../../src/swarm/index.ts'
import { type Random, randomOf } from '../models/random.ts'
import { ask, longestStall, noticedAfter, type Told } from './ask.ts'
import { Forwarder } from './forwarder.ts'
import type { Guessing } from './guessing.ts'
import type { Prober } from './leaks.ts'
import type { Oracle } from './oracle.ts'
import { handlesOf, type Provider, type Swarm } from './providers.ts'
import type { Scenario, Scene } from './scenarios.ts'

const TOKENS = 48
/** For an answer, whatever happens; over far links each token takes a part of a second. */
const PATIENCE_MS = { here: 20_000, far: 90_000 }
/** The fault comes by then, in milliseconds after the session began to open, or the prompt was sent. */
const WITHIN_MS = { opening: 40, prefill: 60 }
/** Positions of a prompt of several frames: with its answer it fits the demo's context. */
const LONG_PROMPT = 600
const BEGINNINGS = ['Tell me a story about a little fish.', 'The sun was warm and', 'Once there was a dog']
/** Connections to nodes that have come since; there are eight at most, and four were seen. */
const MORE_HANDLES = 8

export interface Components {
  readonly swarm: Swarm
  readonly oracle: Oracle
  readonly prober: Prober
  /** What answers guess with; without it they don't. */
  readonly guessing?: Guessing | undefined
}

export interface Played {
  readonly scenario: string
  readonly seed: string
  readonly fault: string
  readonly answers: number
  readonly events: readonly string[]
  /** Logit gaps where an answer first differs from the undisturbed one. */
  readonly divergences: readonly number[]
  /** Milliseconds from the fault to the first event; undefined where there was none. */
  readonly noticedMs: number | undefined
  /** In milliseconds, the longest time without a token after the fault. */
  readonly stallMs: number | undefined
  /** Milliseconds until all places were free again. */
  readonly freeMs: number
  /** Handles that a provider has more than after its start, at most. */
  readonly moreHandles: number
  /** That were sent, of all answers. */
  readonly guesses: number
  /** What must not be; empty is good. */
  readonly problems: readonly string[]
}

/** What providers had open when they were new. */
const handlesAtFirst = new WeakMap<Provider, number>()

export async function play(components: Components, scenario: Scenario, seed: string): Promise<Played> {
  const { swarm, oracle } = components
  const random = randomOf(seed)
  const problems: string[] = []
  await settle(components, problems)
  const prompts = await Promise.all(
    BEGINNINGS.slice(0, scenario.sessions).map((text) => promptOf(oracle, text, scenario.prompt))
  )
  const performance = await perform(components, scenario, random, prompts).catch((error: Error) => {
    problems.push(`${error.message}`)
    return undefined
  })
  const divergences: number[] = []
  for (const [index, { tokens }] of (performance?.told ?? []).entries()) {
    if (tokens.length !== TOKENS) problems.push(`${tokens.length} tokens instead of ${TOKENS}`)
    const verdict = await oracle.judge(prompts[index] as Int32Array, tokens)
    if (verdict.kind === 'wrong') {
      problems.push(`tokens that nobody would have said: ${JSON.stringify(verdict.divergences)}`)
    }
    const [first] = verdict.divergences
    if (first !== undefined) divergences.push(Number(first.gap.toPrecision(3)))
  }
  const events = performance?.told.flatMap((told) => told.events.map(({ event }) => event.type)) ?? []
  for (const type of scenario.wants ?? []) if (!events.includes(type)) problems.push(`no event '${type}'`)
  for (const type of scenario.forbids ?? []) if (events.includes(type)) problems.push(`an event '${type}'`)
  await swarm.replenish()
  const { freeMs, moreHandles } = await settle(components, problems)
  const first = performance?.told[0]
  const noticed = Math.min(
    ...(['lost', 'leaving', 'relayed'] as const)
      .map((type) => (first === undefined ? Number.NaN : noticedAfter(first, type, performance?.at ?? 0)))
      .filter((ms) => !Number.isNaN(ms))
  )
  return {
    ...{
      scenario: scenario.name,
      seed,
      fault: performance?.fault ?? '',
      answers: performance?.told.length ?? 0
    },
    ...{ events, divergences, freeMs, moreHandles, problems },
    guesses: performance?.told.reduce((sum, { guesses }) => sum + guesses, 0) ?? 0,
    noticedMs: Number.isFinite(noticed) ? Math.round(noticed) : undefined,
    stallMs: first === undefined ? undefined : Math.round(longestStall(first, performance?.at ?? 0))
  }
}

interface Performance {
  readonly told: readonly Told[]
  readonly fault: string
  /** When the fault came. */
  readonly at: number
}

async function perform(
  { swarm, guessing }: Components,
  scenario: Scenario,
  random: Random,
  prompts: readonly Int32Array[]
): Promise<Performance> {
  const { moment, kind, sessions } = scenario
  const patienceMs = PATIENCE_MS[swarm.settings.profile === undefined ? 'here' : 'far']
  const providers = swarm.settings.spans.map((span) => {
    const [provider] = swarm.of(span).filter((other) => other.kind === kind)
    return provider as Provider
  })
  await scenario.prepare?.(providers)
  const faults: string[] = []
  let at = 0
  let repaired = Promise.withResolvers<readonly ChainHop[]>()
  const consumer = scenario.isForwarded ? await ForwardedConsumer.start(providers) : undefined
  const scene: Scene = {
    ...{ swarm, random, chain: providers },
    repaired: () => repaired.promise,
    note(fault) {
      faults.push(fault)
      if (at === 0) at = performance.now()
    },
    disconnect: () => consumer?.cut() ?? 0
  }
  const { node, directory } = consumer ?? { node: swarm.consumer, directory: swarm.directory }
  const chain = swarm.chain(providers, directory.stages)
  const struckAt = 2 + Math.floor(random() * (TOKENS / 2))
  const struckAfter = random()
  let striking: Promise<void> | undefined
  const strike = (): void => {
    striking ??= scenario.strike(scene)
    striking.catch(() => {}) // it is awaited below
  }
  try {
    if (moment === 'before') {
      strike()
      await striking
    }
    const components = { host: node.host, relays: node.relays, directory }
    const asked = prompts.map((prompt, index) =>
      ask(components, {
        ...{ chain, prompt, maxTokens: TOKENS, signal: AbortSignal.timeout(patienceMs) },
        drafter: guessing?.drafter(),
        onOpen: () => {
          if (moment === 'prefill') setTimeout(strike, struckAfter * WITHIN_MS.prefill)
        },
        onToken: (count) => {
          if (moment === 'decode' && index === 0 && count === struckAt) strike()
        },
        onEvent: (event) => {
          if (index > 0 || event.type !== 'repaired') return
          repaired.resolve(event.hops)
          repaired = Promise.withResolvers()
        }
      })
    )
    if (moment === 'opening') await delay(struckAfter * WITHIN_MS.opening).then(strike)
    const results = await Promise.allSettled(asked)
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw new Error(`${faults.join(', ')}: ${failed.reason}`)
    await striking
    if (striking === undefined) throw new Error('all were answered before the fault came')
    await scenario.after?.(scene)
    const told = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    if (told.length !== sessions) throw new Error(`${told.length} answers to ${sessions} questions`)
    return { told, fault: faults.join(', '), at }
  } finally {
    await consumer?.stop()
  }
}

async function promptOf(oracle: Oracle, text: string, length: Scenario['prompt']): Promise<Int32Array> {
  if (length === 'short') return oracle.tokenize(text)
  const ids = await oracle.tokenize(`${text} `.repeat(LONG_PROMPT))
  return ids.slice(0, LONG_PROMPT)
}

/** All living providers have all that they lend, and no more open than before. */
async function settle(
  { swarm, prober }: Components,
  problems: string[]
): Promise<{ freeMs: number; moreHandles: number }> {
  const { sessions } = swarm.settings
  const found = await Promise.all(
    swarm.directory.stages.map(async (hosted) => {
      const provider = swarm.at(hosted.peer)
      const freeMs = await prober.freeAfter(hosted, sessions).catch((error: Error) => {
        problems.push(error.message)
        return Number.NaN
      })
      const { all, logs } = await handlesOf(provider.pid)
      const before = handlesAtFirst.get(provider) ?? all
      handlesAtFirst.set(provider, before)
      if (logs > 0) problems.push(`${logs} replay logs are open at blocks ${provider.span}`)
      if (all > before + MORE_HANDLES)
        problems.push(`${all} handles at blocks ${provider.span}, before ${before}`)
      return { freeMs, moreHandles: all - before }
    })
  )
  return {
    freeMs: Math.round(Math.max(...found.map(({ freeMs }) => freeMs))),
    moreHandles: Math.max(...found.map(({ moreHandles }) => moreHandles))
  }
}

/** A consumer whose connections go through forwarders until they are cut. */
class ForwardedConsumer {
  readonly node = new Node({ dataDir: '', listen: [], peers: [], ephemeral: true })
  readonly directory: NamedNodes
  readonly #forwarders: readonly Forwarder[]

  private constructor(forwarders: readonly Forwarder[], addresses: readonly string[]) {
    this.#forwarders = forwarders
    this.directory = new NamedNodes(this.node, { addresses })
  }

  static async start(providers: readonly Provider[]): Promise<ForwardedConsumer> {
    const forwarders = providers.map(
      ({ address }) => new Forwarder(Number(/\/tcp\/(\d+)/.exec(address)?.[1]))
    )
    const ports = await Promise.all(forwarders.map((forwarder) => forwarder.start()))
    const addresses = ports.map((port) => `/ip4/127.0.0.1/tcp/${port}`)
    const consumer = new ForwardedConsumer(forwarders, addresses)
    await consumer.node.host.start()
    await consumer.directory.refresh()
    return consumer
  }

  cut(): number {
    return this.#forwarders.reduce((sum, forwarder) => sum + forwarder.cut(), 0)
  }

  async stop(): Promise<void> {
    await this.node.host.stop()
    await Promise.all(this.#forwarders.map((forwarder) => forwarder.stop()))
  }
}

/** One line per play. */
export function summary(played: readonly Played[]): string {
  const text = (value: number | undefined): string => (value === undefined ? '-' : String(value))
  const rows = played.map((play) => [
    play.scenario,
    play.problems.length === 0 ? 'ok' : 'FAILED',
    `${play.answers}`,
    play.divergences.join(' ') || '-',
    text(play.noticedMs),
    text(play.stallMs),
    text(play.freeMs),
    text(play.moreHandles),
    `${play.fault} (${play.events.join(' ')})`
  ])
  const header = ['scenario', '', 'answers', 'gaps', 'noticed ms', 'stall ms', 'free ms', 'handles', 'fault']
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')).join('\n')
}
