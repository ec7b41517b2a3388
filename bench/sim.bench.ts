/**
 * A swarm of up to 10,000 nodes under a simulated clock and network, with the real directory, placement and routing:
 * what it covers, how often nodes move, what they send, how long a way is looked for, and how each grows with the
 * swarm. `npm run bench -- sim [--nodes 100,1000] [--ramp 10] [--settle 5] [--minutes 10] [--seed 1]
 * [--shelf 20]`: minutes, and the models that each node has the files of
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Bench, type Figure, rounded } from './bench.ts'
import type { Outcome } from './sim/measures.ts'

const RUN = fileURLToPath(new URL('./sim/run.ts', import.meta.url))
/** Megabytes. 10,000 directories take 9,000, and are not searched for garbage before there are so many per node. */
const HEAP = { perNode: 1.25, most: 18_432 }
/** Gossip does not get dearer with the swarm, but for what it tells of more models. */
const GROWTH_FROM = 1_000

export const bench: Bench = {
  name: 'sim',
  description: 'the real swarm code under a simulated clock, 100 to 10,000 nodes (hours; --nodes 100,1000)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        nodes: { type: 'string', default: '100,300,1000,3000,10000' },
        ramp: { type: 'string', default: '10' },
        settle: { type: 'string', default: '5' },
        minutes: { type: 'string', default: '10' },
        seed: { type: 'string', default: '1' },
        shelf: { type: 'string', default: '20' }
      }
    })
    const outcomes = new Map<number, Outcome>()
    for (const nodes of values.nodes.split(',').map(Number)) {
      const { ramp, settle, minutes, seed, shelf } = values
      const outcome = await simulate([String(nodes), ramp, settle, minutes, seed, shelf], log)
      outcomes.set(nodes, outcome)
      log(JSON.stringify(outcome))
    }
    return figuresOf(outcomes)
  }
}

/** In a process of its own, so that each has a heap of its own. */
async function simulate(args: readonly string[], log: (message: string) => void): Promise<Outcome> {
  const first = Math.ceil(HEAP.perNode * Number(args[0]))
  const heap = [`--initial-heap-size=${first}`, `--max-old-space-size=${HEAP.most}`]
  const child = spawn(process.execPath, [...heap, '--expose-gc', RUN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => log(text.trimEnd()))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`the simulation of ${args[0]} nodes ended with ${code}`)
  return JSON.parse(output) as Outcome
}

function figuresOf(outcomes: ReadonlyMap<number, Outcome>): Record<string, Figure> {
  const figures: Record<string, Figure> = {}
  for (const [nodes, outcome] of outcomes) {
    const add = (name: string, value: number, unit: string, rest: Partial<Figure> = {}): void => {
      figures[`${name}_${nodes}`] = { value: rounded(value), unit, ...rest }
    }
    const { memory, coveredByDemand, routeMs, routeCpuMs, messages, kilobytesIn, kilobytesOut } = outcome
    add('coverage', coveredByDemand, 'of requests', {
      ...(memory >= 1 ? { target: '>= 0.99' } : {}),
      note: `${(100 * outcome.covered).toFixed(1)} % of models; memory for ${memory.toFixed(1)} copies of all`
    })
    add('served', outcome.atOnce + outcome.afterWaiting, 'of requests', {
      note: `${outcome.requests} requests, ${(100 * outcome.atOnce).toFixed(1)} % at once`
    })
    add('moves', outcome.movesPerNodeHour, 'per node and hour', { target: '<= 1' })
    add('messages', messages.mean, 'per node and second', {
      note: `99th percentile ${messages.p99.toPrecision(3)}`
    })
    add('traffic', kilobytesIn.mean + kilobytesOut.mean, 'kB/s per node, both ways')
    // Of those who asked for the model before: in a small swarm, within minutes, there may be none.
    if (Number.isFinite(routeMs.median)) {
      const note = `simulated network; 99th percentile ${routeMs.p99.toFixed(0)}`
      add('routing', routeMs.median, 'ms', { note })
    }
    add('routing_cpu', routeCpuMs.median, 'ms', {
      note: `on one core, the network answering at once; 99th percentile ${routeCpuMs.p99.toPrecision(3)}`
    })
    if (outcome.losses > 0)
      add('mended', outcome.mended, 'of sessions whose hop died', { note: `${outcome.losses} losses` })
  }
  const small = outcomes.get(GROWTH_FROM)
  const sizes = [...outcomes.keys()].filter((nodes) => nodes > GROWTH_FROM)
  const largest = outcomes.get(Math.max(...sizes))
  if (small !== undefined && largest !== undefined) {
    figures.growth = {
      ...{ value: rounded(largest.messages.mean / small.messages.mean), unit: 'ratio', target: '<= 1.5' },
      note: `messages per node, ${Math.max(...sizes)} nodes against ${GROWTH_FROM}`
    }
  }
  return figures
}
