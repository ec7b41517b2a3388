/** One model on nodes of many speeds, and the best chain through it. */

import { distanceMs } from '../src/swarm/coordinates.ts'
import { type ChainHop, type Costs, findChain, type HostedStage, type Place } from '../src/swarm/index.ts'
import { costOf } from '../src/swarm/routing-cost.ts'
import { type Random, randomOf } from '../test/models/random.ts'
import { median } from './bench.ts'

export const MODEL = 'a'.repeat(64)
/** A question with some context, and its answer. */
export const DEMAND = { promptTokens: 500, answerTokens: 200 }
const BLOCKS = 32
/** Per block, drawn evenly on a logarithmic scale: from a good graphics card to a laptop's cores with 8B weights. */
const DECODE_MS = { least: 0.3, most: 6 }
/** Of a prompt's row, as a part of that. */
const PREFILL = { least: 0.05, most: 0.3 }
const ROUNDS = 21

/** One of `spans` equal ones, at random. */
export function randomStage(place: Place, spans: number, random: Random): HostedStage {
  const blocks = BLOCKS / spans
  const start = Math.floor(random() * spans) * blocks
  return stageAt(place, start, start + blocks, random)
}

function stageAt(place: Place, start: number, end: number, random: Random): HostedStage {
  const perBlock = DECODE_MS.least * (DECODE_MS.most / DECODE_MS.least) ** random()
  const decode = perBlock * (end - start) * 1000
  const prefill = decode * (PREFILL.least + (PREFILL.most - PREFILL.least) * random())
  const stage = {
    ...{ model: MODEL, name: 'model', architecture: 'llama', blockCount: BLOCKS, width: 4096, start, end },
    ...{ head: end === BLOCKS, embedding: start === 0, context: 8192, maxRows: 512 },
    profile: { kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false },
    speed: { decodeMicroseconds: Math.round(decode), prefillMicroseconds: Math.round(prefill) }
  }
  return { ...place, addresses: [], stage }
}

/** By trying all chains of whole spans. */
export function cheapestOfAll(stages: readonly HostedStage[], costs: Costs, before: ChainHop[] = []): number {
  const block = before.at(-1)?.end ?? 0
  if (block === BLOCKS) return costOf(before, costs)
  let least = Number.POSITIVE_INFINITY
  for (const hop of stages) {
    const { start, end } = hop.stage
    if (start === block)
      least = Math.min(least, cheapestOfAll(stages, costs, [...before, { ...hop, start, end }]))
  }
  return least
}

/** Milliseconds to find a chain among so many stages of 2 to 12 blocks, anywhere. */
export function searchMs(stages: number): number {
  const random = randomOf(`${stages} stages`)
  const place = (peer: string): Place => ({
    ...{
      peer,
      coordinate: {
        vector: Array.from({ length: 8 }, () => 60 * random()),
        height: 20 * random(),
        adjustment: 0,
        error: 0.2
      }
    }
  })
  const all = Array.from({ length: stages }, (_, index) => {
    const start = Math.max(0, Math.floor(random() * (BLOCKS + 6)) - 6)
    return stageAt(
      place(String(index)),
      start,
      Math.min(BLOCKS, start + 2 + Math.floor(random() * 11)),
      random
    )
  })
  const costs: Costs = {
    ...{ ...DEMAND, consumer: place('consumer') },
    rttFrom: (from) => (to) =>
      from.coordinate && to.coordinate ? distanceMs(from.coordinate, to.coordinate) : 0
  }
  return median(
    Array.from({ length: ROUNDS }, () => {
      const started = performance.now()
      findChain(all, MODEL, costs)
      return performance.now() - started
    })
  )
}
