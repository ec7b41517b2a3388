/**
 * Which models a node that could host many hears of in full: those that it hosts, and a few others, drawn by how much
 * they need somebody. If everybody listened to everything, or to the same few, traffic would grow with the swarm.
 */
import type { ModelFacts } from './summaries.ts'

/** Where there are no more models than this, all are followed. */
export const ALL_OF = 4
/** Beside those that it hosts. */
const DRAWN = 2
/** Somebody wants it, and there is no chain: as much as this many sessions per minute and holder. */
const MISSING = 100
/** Nothing is known of it, or nobody wants it: looked at now and then all the same. */
const LITTLE = 0.01

/**
 * The ids of models to follow, among `models`. `factsOf` gives what summaries say of one. `held` is hosted here.
 */
export function scout(
  models: readonly string[],
  held: string | undefined,
  factsOf: (model: string) => ModelFacts | undefined,
  random: () => number
): Set<string> {
  if (models.length <= ALL_OF) return new Set(models)
  const chosen = new Set(held === undefined ? [] : [held])
  const left = new Map(
    models.filter((model) => model !== held).map((model) => [model, needOf(factsOf(model))])
  )
  for (let time = 0; time < DRAWN && left.size > 0; time++) {
    const model = draw(left, random)
    left.delete(model)
    chosen.add(model)
  }
  return chosen
}

/** Sessions per minute for each holder of its rarest block. */
export function needOf(facts: ModelFacts | undefined): number {
  if (facts === undefined) return LITTLE
  const rarest = facts.holders.reduce((least, count) => Math.min(least, count), Number.POSITIVE_INFINITY)
  return rarest === 0 ? MISSING * (1 + facts.demand) : LITTLE + facts.demand / rarest
}

function draw(weights: ReadonlyMap<string, number>, random: () => number): string {
  let left = random() * [...weights.values()].reduce((sum, weight) => sum + weight, 0)
  for (const [model, weight] of weights) {
    left -= weight
    if (left < 0) return model
  }
  return [...weights.keys()].at(-1) as string
}
