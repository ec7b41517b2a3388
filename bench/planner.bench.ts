/**
 * R15: the planner's split against the equal one where one of three stages runs at a quarter of the speed, and against
 * the best split that trying them all finds. Real engines and real hops; speeds are measured as a node does it, links by
 * pings. With `--pace` all machines take at least so long for a block, so that a busy machine disturbs less.
 * Twice: with memory that makes the slow machine take part, and with enough without it.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Node } from '../src/node/index.ts'
import { defaultSampler, openSession } from '../src/session/index.ts'
import { type Machine, type PlanInput, plan, predict } from '../src/swarm/index.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { type ShapeName, writeShape } from './models.ts'
import { type Machines, startMachines } from './planner-machines.ts'

const SLOW = 'slow'
const SLOWNESS = { a: 1, [SLOW]: 4, b: 1 }
/** Blocks that each machine has memory for; `b` with one less can't do without the slow one. */
const MOST_BLOCKS = 6
const CASES = { part: { a: 6, slow: 6, b: 5 }, dropped: { a: 6, slow: 6, b: 6 } } as const
const PROMPT = Int32Array.from({ length: 4 }, (_, index) => 100 + index)
/** Memory is counted in KiB. */
const ROUNDING_BYTES = 1024
/** First tokens that are not counted: connections and caches are cold. */
const WARM_UP = 2
/** Of all splits, those that are measured again, since the fastest of many is also the luckiest. */
const FINALISTS = 4

interface Stage {
  readonly machine: string
  readonly start: number
  readonly end: number
}
type Split = readonly Stage[]

export const bench: Bench = {
  name: 'planner',
  description:
    "the planner's split against the equal one and all others: R15 " +
    '(--shape 3b-12|1b-12 --tokens N --rounds N --threads N --pace MS)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        shape: { type: 'string', default: '3b-12' },
        tokens: { type: 'string', default: '6' },
        rounds: { type: 'string', default: '7' },
        threads: { type: 'string', default: String(Math.max(1, availableParallelism() - 1)) },
        pace: { type: 'string', default: '0' }
      }
    })
    const cache = join(tmpdir(), 'shoal-bench')
    await mkdir(cache, { recursive: true })
    log('writing the model (once)')
    const path = await writeShape(values.shape as ShapeName, 'Q4_0', cache)
    const folder = await mkdtemp(join(tmpdir(), 'shoal-planner-'))
    const consumer = new Node({ dataDir: folder, listen: [], peers: [], ephemeral: true })
    try {
      await consumer.start()
      log('loading every stage that a split may need')
      const [threads, paceMs] = [Number(values.threads), Number(values.pace)]
      const machines = await startMachines({
        path,
        folder,
        threads,
        paceMs,
        mostBlocks: MOST_BLOCKS,
        slowness: SLOWNESS
      })
      try {
        return await measure({
          consumer,
          machines,
          tokens: Number(values.tokens),
          rounds: Number(values.rounds),
          log
        })
      } finally {
        await machines.stop()
      }
    } finally {
      await consumer.stop()
      await rm(folder, { recursive: true, force: true })
    }
  }
}

interface Setup {
  readonly consumer: Node
  readonly machines: Machines
  readonly tokens: number
  readonly rounds: number
  readonly log: (message: string) => void
}

async function measure(setup: Setup): Promise<Record<string, Figure>> {
  const { machines, log, rounds } = setup
  const { blockCount } = machines.model
  const measured = await measureMachines(setup)
  for (const { name, decodeMsPerBlock } of measured)
    log(`${name}: ${decodeMsPerBlock.toFixed(2)} ms per block`)
  const linkMs = await measureLinks(setup)
  const inputs = Object.entries(CASES).map(([name, blocks]) => ({
    name,
    input: inputOf(setup, measured, linkMs, blocks)
  }))
  const equal = equalSplit(blockCount)
  const planned = inputs.map(({ input }) => plan(input).spans)
  for (const [index, split] of planned.entries()) log(`${inputs[index]?.name}: planned ${inWords(split)}`)

  const splits = allSplits(blockCount)
  log(`trying all ${splits.length} splits`)
  const first = new Map<string, number>()
  for (const split of splits) first.set(inWords(split), await tokenMs(setup, split))

  const contenders = inputs.map(({ name }) => {
    const { b } = CASES[name as keyof typeof CASES]
    return splits
      .filter((split) => split.every(({ machine, start, end }) => machine !== 'b' || end - start <= b))
      .sort((x, y) => (first.get(inWords(x)) ?? 0) - (first.get(inWords(y)) ?? 0))
      .slice(0, FINALISTS)
  })
  const again = new Map([equal, ...planned, ...contenders.flat()].map((split) => [inWords(split), split]))
  const runs = new Map<string, number[]>([...again.keys()].map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, split] of again) runs.get(name)?.push(await tokenMs(setup, split))
  }
  const msOf = (split: Split): number => median(runs.get(inWords(split)) ?? [])
  const figures: Record<string, Figure> = {}
  for (const [index, { name, input }] of inputs.entries()) {
    const chosen = planned[index] as Split
    const best = (contenders[index] as Split[]).reduce((a, b) => (msOf(b) < msOf(a) ? b : a), chosen)
    const suffix = name === 'part' ? '' : '_dropped'
    const ratios = (runs.get(inWords(equal)) ?? []).map(
      (ms, round) => ms / (runs.get(inWords(chosen))?.[round] as number)
    )
    figures[`R15${suffix}`] = {
      ...{ value: rounded(median(ratios)), runs: ratios.map(rounded), target: '>= 1.5', unit: 'ratio' },
      note: `tokens per second, ${inWords(chosen)} against ${inWords(equal)}`
    }
    figures[`within${suffix}`] = {
      ...{ value: rounded(msOf(best) / msOf(chosen)), target: '>= 0.95', unit: 'ratio' },
      note: `planned against the best of all that fit, ${inWords(best)}`
    }
    figures[`predicted${suffix}`] = {
      ...{ value: rounded((predict(input, chosen).tokensPerSecond * msOf(chosen)) / 1000), unit: 'ratio' },
      note: 'predicted tokens per second against measured ones'
    }
    figures[`planned${suffix}`] = { value: rounded(msOf(chosen)), unit: 'ms per token' }
  }
  figures.equal = { value: rounded(msOf(equal)), unit: 'ms per token' }
  figures.splits = { value: splits.length, unit: 'splits tried' }
  return figures
}

async function measureMachines({ machines }: Setup): Promise<Pick<Machine, 'name' | 'decodeMsPerBlock'>[]> {
  const measured: Pick<Machine, 'name' | 'decodeMsPerBlock'>[] = []
  for (const machine of machines.machines) {
    measured.push({ name: machine.name, decodeMsPerBlock: await machines.speedOf(machine) })
  }
  return measured
}

/** One way: half of the median ping from the consumer; all links are loopback. */
async function measureLinks({ consumer, machines }: Setup): Promise<number> {
  const pings: number[] = []
  for (const { host } of machines.machines) {
    const peer = await consumer.host.connect(host.addresses[0] as string)
    for (let ping = 0; ping < 9; ping++) pings.push(await consumer.host.ping(peer))
  }
  return median(pings) / 2
}

function inputOf(
  { machines }: Setup,
  measured: readonly Pick<Machine, 'name' | 'decodeMsPerBlock'>[],
  linkMs: number,
  blocks: Readonly<Record<string, number>>
): PlanInput {
  const { model } = machines
  // Room for so many blocks, wherever they are: neither ends nor caches count here.
  const perBlock = Math.max(...model.blockBytes)
  const sizes = {
    ...model,
    blockBytes: model.blockBytes.map(() => perBlock),
    embeddingBytes: 0,
    positions: 0
  }
  const machine = (one: Pick<Machine, 'name' | 'decodeMsPerBlock'>): Machine => ({
    ...{ ...one, prefillMsPerBlock: one.decodeMsPerBlock },
    memoryBytes: (blocks[one.name] as number) * perBlock + model.headBytes + ROUNDING_BYTES
  })
  return {
    ...{ model: sizes, machines: measured.map(machine), objective: 'latency' },
    linkMs: () => linkMs,
    consumerMs: () => linkMs
  }
}

function equalSplit(blockCount: number): Split {
  const names = Object.keys(SLOWNESS)
  const share = blockCount / names.length
  return names.map((machine, index) => ({ machine, start: index * share, end: (index + 1) * share }))
}

/** Every split in every order that tells machines apart: `a` and `b` are alike, so `a` comes first. */
function allSplits(blockCount: number): Split[] {
  const orders = [
    ['a', 'slow', 'b'],
    ['slow', 'a', 'b'],
    ['a', 'b', 'slow'],
    ['a', 'b'],
    ['a', 'slow'],
    ['slow', 'a']
  ]
  const cut = (order: readonly string[], start: number): Split[] => {
    const [machine, ...rest] = order
    if (machine === undefined) return start === blockCount ? [[]] : []
    const ends = Array.from({ length: MOST_BLOCKS }, (_, index) => start + index + 1)
    return ends
      .filter((end) => end <= blockCount)
      .flatMap((end) => cut(rest, end).map((tail) => [{ machine, start, end }, ...tail]))
  }
  return orders.flatMap((order) => cut(order, 0))
}

/** Median milliseconds per token. */
async function tokenMs({ consumer, machines, tokens }: Setup, split: Split): Promise<number> {
  const chain = split.map(({ machine, ...range }) => machines.hop(machine, range))
  const reserve = PROMPT.length + tokens + WARM_UP + 1
  const session = await openSession(consumer, { chain, sampler: defaultSampler(), reserve })
  try {
    const times: number[] = []
    const options = { maxTokens: tokens + WARM_UP, endTokens: new Set<number>() }
    for await (const _ of session.generate(PROMPT, options)) times.push(performance.now())
    return median(times.slice(WARM_UP).map((time, index) => time - (times[index + WARM_UP - 1] as number)))
  } finally {
    await session.close()
  }
}

function inWords(split: Split): string {
  return split.map(({ machine, start, end }) => `${machine} ${start}-${end}`).join(', ')
}
