/** What is known of models that a node does not follow, and what it tells others of those that it does. */
import { type Clock, Limits } from '../common/index.ts'
import type { ModelSummary, Sealed, Verdict } from '../net/index.ts'
import { CLOCK_GRACE_MS } from './directory.ts'
import type { HostedStage } from './discover.ts'
import { SUMMARIES } from './limits.ts'

/** One summary per model and interval, by whoever is first in its second half (Trickle: RFC 6206, k = 1). */
const INTERVAL_MS = 60_000
/** Five intervals: summaries come from different observers at different times. */
const KEPT_MS = 5 * 60_000
const MAX_MODELS = 4_096
/** Their medians count: two of five may lie. */
const MAX_OBSERVERS = 5
/** The deepest models have 130 blocks, a byte each. Of all models and observers that is 50 MB at the very most. */
const MAX_BYTES = 1_024
/** Announcements are on their way to some while others count them. */
const SLACK = 1.25
const MAX_HOLDERS = 255

/** What a model's followers know, or say that they do. */
export type ModelFacts = Omit<ModelSummary, 'observer' | 'at'>

interface Heard {
  readonly summary: ModelSummary
  readonly sealed: Sealed
  readonly at: number
}

interface Trickle {
  /** Summaries of this interval that say what this node would. */
  consistent: number
  cancel: () => void
}

export interface SummariesComponents {
  readonly clock: Clock
  readonly random: () => number
  /** What this node knows of a model that it follows. */
  readonly factsOf: (model: string) => ModelFacts | undefined
  /** Signs and spreads what this node knows. */
  readonly publish: (facts: ModelFacts) => void
}

export class Summaries {
  readonly #components: SummariesComponents
  readonly #limits: Limits
  readonly #trickles = new Map<string, Trickle>()
  /** By model, then by observer; what was heard last is last in both. */
  readonly #heard = new Map<string, Map<string, Heard>>()

  constructor(components: SummariesComponents) {
    this.#components = components
    this.#limits = new Limits(components.clock, SUMMARIES)
  }

  /** Tells others about the model from now on. */
  follow(model: string): void {
    if (this.#trickles.has(model)) return
    const trickle: Trickle = { consistent: 0, cancel: () => {} }
    this.#trickles.set(model, trickle)
    // Intervals that begin together would end in many saying the same while the first is on its way.
    const { clock, random } = this.#components
    trickle.cancel = clock.after(INTERVAL_MS * random(), () => this.#interval(model, trickle))
  }

  unfollow(model: string): void {
    this.#trickles.get(model)?.cancel()
    this.#trickles.delete(model)
  }

  stop(): void {
    for (const model of [...this.#trickles.keys()]) this.unfollow(model)
  }

  /** Whoever signed it says so. */
  hear(summary: ModelSummary, sealed: Sealed): Verdict {
    const { model, observer, at } = summary
    const { clock } = this.#components
    if (Math.abs(clock.wall() - at) > CLOCK_GRACE_MS || sealed.payload.byteLength > MAX_BYTES) return 'ignore'
    const before = this.#heard.get(model)?.get(observer)
    if (before !== undefined && before.summary.at >= at) {
      return before.summary.at === at ? 'accept' : 'ignore'
    }
    if (!this.#limits.take(observer)) return 'ignore'
    const trickle = this.#trickles.get(model)
    const facts = trickle === undefined ? undefined : this.#components.factsOf(model)
    if (trickle !== undefined && facts !== undefined) {
      if (claimsMore(summary, facts)) return 'ignore'
      if (!claimsMore(facts, summary) && haveSameGaps(facts, summary)) trickle.consistent += 1
    }
    this.#keep({ summary, sealed, at: clock.now() })
    return 'accept'
  }

  /** Models that somebody spoke of lately. */
  get models(): string[] {
    return [...this.#heard.keys()].filter((model) => this.#recent(model).length > 0)
  }

  /** As a node knows it that follows the model itself; else the median of what is heard of it, a hint, no proof. */
  of(model: string): ModelFacts | undefined {
    const facts = this.#trickles.has(model) ? this.#components.factsOf(model) : undefined
    if (facts !== undefined) return facts
    const said = this.#recent(model).map(({ summary }) => summary)
    const shape = median(said.map(({ blockCount }) => blockCount))
    const fitting = said.filter(({ blockCount }) => blockCount === shape)
    const newest = fitting.at(-1)
    // Who has just come has the directory of others.
    if (newest === undefined) return this.#components.factsOf(model)
    const { name, architecture, blockCount } = newest
    return {
      ...{ model, name, architecture, blockCount },
      holders: newest.holders.map((_, block) => median(fitting.map(({ holders }) => holders[block] ?? 0))),
      nodes: median(fitting.map(({ nodes }) => nodes)),
      demand: median(fitting.map(({ demand }) => demand))
    }
  }

  /** For a newcomer: the newest of each of these models, of all where none is named. */
  answer(models: readonly string[]): Sealed[] {
    const asked = models.length === 0 ? [...this.#heard.keys()] : models
    return asked.flatMap((model) => this.#recent(model).slice(-1)).map(({ sealed }) => sealed)
  }

  #interval(model: string, trickle: Trickle): void {
    const { clock, random, factsOf, publish } = this.#components
    const wait = (INTERVAL_MS / 2) * (1 + random())
    trickle.consistent = 0
    trickle.cancel = clock.after(wait, () => {
      trickle.cancel = clock.after(INTERVAL_MS - wait, () => this.#interval(model, trickle))
      const facts = trickle.consistent === 0 ? factsOf(model) : undefined
      if (facts !== undefined) publish(facts)
    })
  }

  #keep(heard: Heard): void {
    const { model, observer } = heard.summary
    const observers = this.#heard.get(model) ?? new Map<string, Heard>()
    this.#heard.delete(model)
    this.#heard.set(model, observers)
    observers.delete(observer)
    observers.set(observer, heard)
    if (observers.size > MAX_OBSERVERS) observers.delete(observers.keys().next().value as string)
    if (this.#heard.size > MAX_MODELS) this.#dropOne()
  }

  /** What only one observer ever spoke of gives way first, as somebody may make up names. */
  #dropOne(): void {
    for (const [model, observers] of this.#heard) {
      if (observers.size === 1 || this.#recent(model).length === 0) return void this.#heard.delete(model)
    }
    this.#heard.delete(this.#heard.keys().next().value as string)
  }

  #recent(model: string): Heard[] {
    const since = this.#components.clock.now() - KEPT_MS
    return [...(this.#heard.get(model)?.values() ?? [])].filter(({ at }) => at >= since)
  }
}

/**
 * What announcements show of a model. Where nobody hosts it, and some wait for it, that, if `before` says what it was;
 * else undefined.
 */
export function factsOf(
  stages: readonly HostedStage[],
  waiting: number,
  before?: ModelFacts
): ModelFacts | undefined {
  const shapes = Map.groupBy(stages, ({ stage }) => stage.blockCount)
  const [most = []] = [...shapes.values()].sort((a, b) => b.length - a.length) // the others lie
  const [first] = most
  if (first === undefined) {
    if (before === undefined || waiting === 0) return undefined
    return { ...before, holders: new Uint8Array(before.blockCount), nodes: 0, demand: waiting }
  }
  const { model, name, architecture, blockCount } = first.stage
  const ready = most.filter(({ stage }) => stage.state === undefined)
  const holders = new Uint8Array(blockCount)
  for (const { stage } of ready) {
    for (let block = stage.start; block < stage.end; block++) {
      holders[block] = Math.min((holders[block] ?? 0) + 1, MAX_HOLDERS)
    }
  }
  // Every session has one first hop and one last.
  const opened = (isCounted: (hosted: HostedStage) => boolean): number =>
    ready.filter(isCounted).reduce((sum, { stage }) => sum + (stage.demand ?? 0), 0)
  const sessions = Math.max(
    opened(({ stage }) => stage.start === 0),
    opened(({ stage }) => stage.end === blockCount)
  )
  const nodes = new Set(most.map(({ peer }) => peer)).size
  return { ...{ model, name, architecture, blockCount, holders, nodes }, demand: sessions + waiting }
}

/** Beyond what may be on its way: blocks that nobody else knows holders of, or more nodes. */
function claimsMore(one: ModelFacts, other: ModelFacts): boolean {
  if (one.blockCount !== other.blockCount) return true
  const isMore = (a: number, b: number): boolean => a > b * SLACK + 1
  return (
    isMore(one.nodes, other.nodes) ||
    one.holders.some((count, block) => isMore(count, other.holders[block] ?? 0))
  )
}

function haveSameGaps(one: ModelFacts, other: ModelFacts): boolean {
  return one.holders.every((count, block) => (count === 0) === (other.holders[block] === 0))
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0
}
