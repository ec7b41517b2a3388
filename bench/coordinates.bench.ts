/**
 * How well links are predicted that nobody has measured, and how good the chains are that are chosen by that: 50
 * emulated nodes under a simulated clock, each of which measures another one now and then. The network is made up
 * (`network-model.ts` says from what), so true links are known, and the best chain by trying all of them.
 */
import { parseArgs } from 'node:util'
import { type ChainHop, type Costs, findChain, type HostedStage, Router } from '../src/swarm/index.ts'
import { costOf } from '../src/swarm/routing-cost.ts'
import { type Random, randomOf } from '../test/models/random.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { EmulatedNodes, plainVivaldi } from './emulated-nodes.ts'
import { NetworkModel } from './network-model.ts'
import { cheapestOfAll, DEMAND, MODEL, randomStage, searchMs } from './placements.ts'

const NODES = 50
const MINUTE_MS = 60_000
/** So that all chains can be tried: some 12 replicas of each span, 24,000 chains. */
const SPANS = 4
/** After so many sessions a consumer has measured its links to the nodes that it used. */
const SESSIONS = 3
/** Longer than a measured link counts. */
const REST_MS = 6 * MINUTE_MS

/** The chosen chain's cost, as a part of the best one's. */
interface Chosen {
  readonly cold: number
  readonly routed: number
  readonly measured: number
}

/** One network and its nodes. Errors are relative. */
interface Run {
  readonly after10: number
  readonly after30: number
  readonly after30p90: number
  readonly plain10: number
  readonly plain30: number
  /** Part of the links that have a shorter way through a third node. */
  readonly detours: number
  readonly chosen: readonly Chosen[]
}

export const bench: Bench = {
  name: 'coordinates',
  description:
    'predicted links, and chains chosen by them, of 50 emulated nodes (--networks N --placements N)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        networks: { type: 'string', default: '15' },
        placements: { type: 'string', default: '20' }
      }
    })
    const runs: Run[] = []
    for (let seed = 1; seed <= Number(values.networks); seed++) {
      const run = await measure(`network ${seed}`, Number(values.placements))
      runs.push(run)
      const cold = mean(run.chosen.map((chosen) => chosen.cold))
      log(`network ${seed}: links ${rounded(run.after30)} off, chains ${rounded(cold)} of the best`)
    }
    return report(runs)
  }
}

async function measure(seed: string, placements: number): Promise<Run> {
  const network = new NetworkModel(NODES, seed)
  const nodes = new EmulatedNodes(NODES, network, seed)
  nodes.runUntil(10 * MINUTE_MS)
  const after10 = nodes.errors()
  nodes.runUntil(30 * MINUTE_MS)
  const after30 = nodes.errors()
  const random = randomOf(`placements on ${seed}`)
  const chosen: Chosen[] = []
  for (let count = 0; count < placements; count++) chosen.push(await choose(nodes, network, random))
  return {
    ...{ after10: median(after10), after30: median(after30), after30p90: quantile(after30, 0.9), chosen },
    plain10: median(plainVivaldi(NODES, network, seed, 10 * MINUTE_MS)),
    plain30: median(plainVivaldi(NODES, network, seed, 30 * MINUTE_MS)),
    detours: detoursOf(network)
  }
}

/** A random consumer chooses in a random placement. */
async function choose(nodes: EmulatedNodes, network: NetworkModel, random: Random): Promise<Chosen> {
  nodes.rest(REST_MS)
  const stages = Array.from({ length: NODES }, (_, index) => randomStage(nodes.place(index), SPANS, random))
  const consumer = Math.floor(random() * NODES)
  const latency = nodes.of(consumer)
  const truth: Costs = {
    ...{ ...DEMAND, consumer: latency.here },
    rttFrom: (from) => (to) => network.rttMs(Number(from.peer), Number(to.peer))
  }
  const best = cheapestOfAll(stages, truth)
  const cheapest = (): ChainHop[] =>
    findChain(stages, MODEL, { ...DEMAND, consumer: latency.here, rttFrom: (from) => latency.from(from) })
  const ofBest = (chain: readonly ChainHop[]): number => costOf(chain, truth) / best
  const cold = ofBest(cheapest())
  const { chain } = await routerOf(nodes, consumer, stages, random).route({ model: MODEL, ...DEMAND })
  for (let session = 0; session < SESSIONS; session++) {
    for (const { peer } of cheapest()) if (Number(peer) !== consumer) nodes.measure(consumer, Number(peer))
  }
  return { cold, routed: ofBest(chain), measured: ofBest(cheapest()) }
}

/** With nobody busy. */
function routerOf(nodes: EmulatedNodes, consumer: number, stages: HostedStage[], random: Random): Router {
  return new Router({
    ...{ clock: nodes.clock, random, latency: nodes.of(consumer), stages: () => stages },
    ask: async (peer) => {
      const { model, start, end } = (stages[Number(peer)] as HostedStage).stage
      const free = { freeSessions: 8, freePositions: 100_000, waitMicroseconds: 0, stepMicroseconds: 0 }
      return { type: 'load', stages: [{ model, start, end, ...free }] }
    }
  })
}

function detoursOf(network: NetworkModel): number {
  const all = Array.from({ length: NODES }, (_, index) => index)
  const rtts = all.map((a) => all.map((b) => network.rttMs(a, b)))
  const rtt = (a: number, b: number): number => rtts[a]?.[b] as number
  const pairs = all.flatMap((a) => all.slice(0, a).map((b) => [a, b] as const))
  const isLonger = ([a, b]: readonly [number, number]): boolean =>
    all.some((third) => third !== a && third !== b && rtt(a, third) + rtt(third, b) < rtt(a, b))
  return pairs.filter(isLonger).length / pairs.length
}

function report(runs: readonly Run[]): Record<string, Figure> {
  const links = (value: (run: Run) => number, note: string): Figure => {
    const values = runs.map(value)
    return { value: rounded(median(values)), runs: values.map(rounded), unit: 'of the round trip', note }
  }
  const chains = (value: (chosen: Chosen) => number, note: string): Figure => {
    const all = runs.flatMap(({ chosen }) => chosen.map(value))
    const spread = `median ${rounded(median(all))}, 90th percentile ${rounded(quantile(all, 0.9))}`
    const means = runs.map(({ chosen }) => rounded(mean(chosen.map(value))))
    return {
      value: rounded(mean(all)),
      target: '<= 1.10',
      runs: means,
      unit: 'of the best',
      note: `mean; ${spread}; ${note}`
    }
  }
  const plain = 'Vivaldi alone: one measurement per 30 s, each learned from once'
  return {
    error_10_minutes: {
      ...links((run) => run.after10, 'median over all pairs, by coordinates alone'),
      target: '<= 0.15'
    },
    error_30_minutes: { ...links((run) => run.after30, 'the same'), target: '<= 0.15' },
    error_30_minutes_p90: links((run) => run.after30p90, '90th percentile'),
    plain_10_minutes: links((run) => run.plain10, plain),
    plain_30_minutes: links((run) => run.plain30, plain),
    chain_cold: chains(({ cold }) => cold, 'all links predicted'),
    chain_measured: chains(
      ({ measured }) => measured,
      `with the consumer's links to those that it used in ${SESSIONS} sessions`
    ),
    chain_routed: chains(
      ({ routed }) => routed,
      'cold, and drawn from those within 15 %, so that consumers spread'
    ),
    search_200: {
      value: rounded(searchMs(200)),
      target: '<= 5',
      unit: 'ms',
      note: 'a chain among 200 stages'
    },
    search_2000: { value: rounded(searchMs(2000)), target: '<= 50', unit: 'ms', note: 'among 2,000' },
    detours: {
      ...{ value: rounded(median(runs.map((run) => run.detours))), unit: 'of the links' },
      note: 'have a shorter way through a third node: what no coordinates can express'
    }
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function quantile(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(part * values.length)] as number
}
