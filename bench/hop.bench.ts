/**
 * What a hop costs: three provider processes against one process with the whole model, greedy decoding, equal
 * threads on the same cores, interleaved runs. R2, R3, R4, and where the time of a hop goes. One core is left to
 * the nodes' own processes: ggml's threads wait for each other at every step, and all of them for one that has to
 * share its core.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { LlamaEngine } from '../src/engine/index.ts'
import { openModel } from '../src/models/index.ts'
import { Node } from '../src/node/index.ts'
import { defaultSampler, openSession, type Session } from '../src/session/index.ts'
import { discover, findChain } from '../src/swarm/index.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { measureProcessLeg, measureWireLeg } from './legs.ts'
import { type ShapeName, writeShape } from './models.ts'
import { type Provider, startProvider } from './providers.ts'
import { measureRpc } from './rpc.ts'

const HOPS = 3
/** Ids of the prompt: few, since decoding is what is measured. */
const PROMPT = Int32Array.from({ length: 8 }, (_, index) => 100 + index)
const CONTEXT = 512

interface Run {
  /** Median milliseconds per token. */
  readonly tokenMs: number
  /** Of that, what the engines computed. */
  readonly computeMs: number
}

export const bench: Bench = {
  name: 'hop',
  description:
    'three stages against one process: R2, R3 and R4 (--shape 3b|1b --threads N --rounds N --tokens N --rpc FOLDER)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        shape: { type: 'string', default: '3b' },
        threads: { type: 'string', default: String(Math.max(1, availableParallelism() - 1)) },
        rounds: { type: 'string', default: '9' },
        tokens: { type: 'string', default: '24' },
        rpc: { type: 'string' }
      }
    })
    const threads = Number(values.threads)
    const rounds = Number(values.rounds)
    const tokens = Number(values.tokens)
    const cache = join(tmpdir(), 'shoal-bench')
    await mkdir(cache, { recursive: true })
    log('writing the model (once)')
    const path = await writeShape(values.shape as ShapeName, 'Q4_0', cache)
    const folder = await mkdtemp(join(tmpdir(), 'shoal-hop-'))
    try {
      const pairs = await measurePairs({ path, folder, threads, rounds, tokens, log })
      const figures = await report(pairs, path, folder, threads)
      return values.rpc === undefined
        ? figures
        : { ...figures, ...(await measureRpc({ folder: values.rpc, model: path, threads, tokens, log })) }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

interface Setup {
  readonly path: string
  readonly folder: string
  readonly threads: number
  readonly rounds: number
  readonly tokens: number
  readonly log: (message: string) => void
}

async function measurePairs(setup: Setup): Promise<{ whole: Run; chain: Run }[]> {
  const { path, folder, threads, rounds, tokens, log } = setup
  const model = await openModel(path)
  const { id, blockCount } = model
  await model.close()
  const whole = new LlamaEngine({ files: [path], context: CONTEXT, sequences: 1, threads, gpuLayers: 0 })
  const node = new Node({ dataDir: folder, listen: [], peers: [], ephemeral: true })
  const providers: Provider[] = []
  try {
    log('starting one process with all blocks, and three with a third each')
    await whole.start()
    await whole.setSampler(0, { temperature: 0, seed: 0 })
    await node.start()
    const flags = ['--threads', String(threads), '--context', String(CONTEXT), '--gpu-layers', '0']
    for (let hop = 0; hop < HOPS; hop++) {
      const border = (at: number): number => Math.round((at * blockCount) / HOPS)
      const blocks = `${border(hop)}-${border(hop + 1)}`
      providers.push(await startProvider({ model: path, blocks, folder, flags }))
    }
    const addresses = providers.map(({ address }) => address)
    const chain = findChain(await discover(node.host, addresses), id)
    const pairs: { whole: Run; chain: Run }[] = []
    for (let round = -1; round < rounds; round++) {
      const wholeRun = await runWhole(whole, tokens)
      const session = await openSession(node, { chain, sampler: defaultSampler(), reserve: CONTEXT })
      const tokenMs = await runChain(session, tokens)
      await session.close()
      const computeMs = session.figures.reduce((sum, figures) => sum + figures.computeMs, 0)
      const chainRun = { tokenMs, computeMs }
      if (round < 0) continue // the first pair only warms caches
      pairs.push({ whole: wholeRun, chain: chainRun })
      log(
        `round ${round + 1}: whole ${wholeRun.tokenMs.toFixed(2)} ms, chain ${chainRun.tokenMs.toFixed(2)} ms per token`
      )
    }
    return pairs
  } finally {
    await Promise.all(providers.map((provider) => provider.stop()))
    await node.stop()
    await whole.stop()
  }
}

async function runWhole(engine: LlamaEngine, tokens: number): Promise<Run> {
  await engine.truncate(0, 0)
  const times: number[] = []
  const computes: number[] = []
  let rows = PROMPT
  let position = 0
  for (let drawn = 0; drawn <= tokens; drawn++) {
    const start = performance.now()
    const { groups, computeMs } = await engine.run([
      { sequence: 0, position, tokens: rows, output: 'sample-last' }
    ])
    if (drawn > 0) {
      times.push(performance.now() - start)
      computes.push(computeMs)
    }
    position += rows.length
    rows = groups[0]?.sampled as Int32Array<ArrayBuffer>
  }
  return { tokenMs: median(times), computeMs: median(computes) }
}

/** Milliseconds per token. */
async function runChain(session: Session, tokens: number): Promise<number> {
  const times: number[] = []
  let last = 0
  const options = { maxTokens: tokens + 1, endTokens: new Set<number>() }
  for await (const _ of session.generate(PROMPT, options)) {
    const now = performance.now()
    if (last > 0) times.push(now - last)
    last = now
  }
  return median(times)
}

async function report(
  pairs: readonly { whole: Run; chain: Run }[],
  path: string,
  folder: string,
  threads: number
): Promise<Record<string, Figure>> {
  const model = await openModel(path)
  const { width } = model
  await model.close()
  const processLeg = await measureProcessLeg(path, folder)
  const wireLeg = await measureWireLeg(width)
  const of = (value: (pair: { whole: Run; chain: Run }) => number): { value: number; runs: number[] } => {
    const runs = pairs.map(value)
    return { value: rounded(median(runs)), runs: runs.map(rounded) }
  }
  const added = of(({ whole, chain }) => (chain.tokenMs - whole.tokenMs) / HOPS)
  const compute = of(({ whole, chain }) => (chain.computeMs - whole.computeMs) / HOPS)
  return {
    R2: { ...of(({ whole, chain }) => whole.tokenMs / chain.tokenMs), target: '>= 0.95', unit: 'ratio' },
    R3: { ...added, target: '<= 0.8', unit: 'ms per hop' },
    R4: {
      value: wireLeg.bytes,
      target: `<= ${4 * width + 64}`,
      unit: 'bytes per row',
      note: `width ${width}, f32; what the socket is given for a frame of one row`
    },
    whole: { ...of(({ whole }) => whole.tokenMs), unit: 'ms per token', note: `${threads} threads` },
    chain: { ...of(({ chain }) => chain.tokenMs), unit: 'ms per token' },
    compute: { ...compute, unit: 'ms per hop', note: 'computing apart: callbacks, smaller graphs' },
    process_leg: {
      value: rounded(processLeg),
      unit: 'ms',
      note: 'into the engine process and back, once per hop'
    },
    wire_leg: {
      value: rounded(wireLeg.ms),
      unit: 'ms',
      note: 'a frame to another process over libp2p, one way'
    }
  }
}
