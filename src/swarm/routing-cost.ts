/**
 * What a session waits for along a chain, predicted. Every answered token goes round once: each link, each stage's
 * queue and computing, and the link back to the consumer. The prompt flows in frames, so that all stages compute at
 * once: the first frame is waited for at every stage, the rest at the slowest one.
 */
import type { StageInfo } from '../net/index.ts'
import type { HostedStage } from './discover.ts'
import { DEFAULT_RTT_MS, type Place } from './latency.ts'
import { prefillRows } from './prefill.ts'

/** Of a stage that doesn't say how fast it is, per block: a 3B model's on one core of a desktop. */
const DEFAULT_DECODE_MS = 5
const DEFAULT_PREFILL_MS = 1
/** What a row takes at a node beside its step, and beyond a ping: to be read, decrypted, checked, sealed and written. */
const HANDLING_MS = 0.5
/** Nobody is faster, whatever they say: some 30 MB of weights per block at 3 TB/s. */
const LEAST_DECODE_MS = 0.01
const LEAST_PREFILL_MS = 0.0001

/** One hop of a chain: it computes blocks `[start, end)`, where `end` may be before the end of its span. */
export interface ChainHop extends HostedStage {
  readonly start: number
  readonly end: number
}

export interface Demand {
  /** That are not computed yet. */
  readonly promptTokens: number
  /** Expected. */
  readonly answerTokens: number
}

/** How busy a stage is. */
export interface Busyness {
  /** What a row waits for before its step. */
  readonly waitMs: number
  /** What a step takes through all of the stage's blocks, where that is known better than from its announcement. */
  readonly stepMs?: number
}

/** All that a chain is judged by. */
export interface Costs extends Demand {
  readonly consumer: Place
  /** Round trips between nodes, in milliseconds. */
  readonly rttFrom: (from: Place) => (to: Place) => number
  readonly busynessOf?: (hop: HostedStage) => Busyness | undefined
  /** What using a stage costs beyond what it takes, in milliseconds: makes chains differ. */
  readonly extraOf?: (hop: HostedStage) => number
}

/** Nothing is known of links, and nobody waits: what is left of a choice are speeds, and few hops. */
export const UNKNOWN_LINKS: Costs = {
  ...{ promptTokens: 0, answerTokens: 256, consumer: { peer: '' } },
  rttFrom: (from) => (to) => (from.peer === to.peer ? 0 : DEFAULT_RTT_MS)
}

/** What a session pays at one stage, in milliseconds. */
export interface Price {
  /** However many blocks are used. */
  readonly fixed: number
  readonly perBlock: number
  /** Paid for the slowest stage of a chain only. */
  readonly peakPerBlock: number
}

export function priceOf(hop: HostedStage, costs: Costs): Price {
  const { stage } = hop
  const { promptTokens } = costs
  const firstRows = prefillRows(promptTokens)
  const rounds = roundsOf(costs)
  const blocks = stage.end - stage.start
  const busyness = costs.busynessOf?.(hop)
  const handlingMs = hop.peer === costs.consumer.peer ? 0 : HANDLING_MS
  const decodeMs = Math.max(decodeOf(stage), busyness?.stepMs ?? 0) / blocks
  const prefillMs = prefillOf(stage) / blocks
  return {
    fixed: rounds * ((busyness?.waitMs ?? 0) + handlingMs) + (costs.extraOf?.(hop) ?? 0),
    perBlock: (rounds - 1) * decodeMs + firstRows * prefillMs,
    peakPerBlock: (promptTokens - firstRows) * prefillMs
  }
}

/** Milliseconds for one row through all of the stage's blocks. */
function decodeOf({ speed, start, end }: StageInfo): number {
  if (speed === undefined) return DEFAULT_DECODE_MS * (end - start)
  return Math.max(LEAST_DECODE_MS * (end - start), speed.decodeMicroseconds / 1000)
}

function prefillOf({ speed, start, end }: StageInfo): number {
  if (speed === undefined) return DEFAULT_PREFILL_MS * (end - start)
  return Math.max(LEAST_PREFILL_MS * (end - start), speed.prefillMicroseconds / 1000)
}

/** How often rows go round the chain: the prompt, which gives the first token, and each token but the last. */
export function roundsOf({ answerTokens }: Demand): number {
  return Math.max(1, answerTokens)
}

/** What a session takes, and what the chain's stages cost extra, in milliseconds. */
export function costOf(chain: readonly ChainHop[], costs: Costs): number {
  let from = costs.consumer
  let sum = 0
  let peak = 0
  for (const hop of chain) {
    const { fixed, perBlock, peakPerBlock } = priceOf(hop, costs)
    const blocks = hop.end - hop.start
    sum += (roundsOf(costs) * costs.rttFrom(from)(hop)) / 2 + fixed + perBlock * blocks
    peak = Math.max(peak, peakPerBlock * blocks)
    from = hop
  }
  return sum + peak + (roundsOf(costs) * costs.rttFrom(from)(costs.consumer)) / 2
}
