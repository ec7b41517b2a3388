/**
 * Many sessions at once: three provider processes against llama.cpp's own batched decoding in one process with equal
 * threads; how even the sessions' shares are; and what a long prompt of somebody else does to them.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { LlamaEngine } from '../src/engine/index.ts'
import { openModel } from '../src/models/index.ts'
import { Node } from '../src/node/index.ts'
import { type ChainHop, discover, findChain } from '../src/swarm/index.ts'
import { type Bench, type Figure, median, rounded } from './bench.ts'
import { type Crowd, intervals, PROMPT_ROWS, promptOf, startCrowd, timeToFirstToken } from './crowd.ts'
import { measureKvSplit } from './kv-split.ts'
import { type ShapeName, writeShape } from './models.ts'
import { type Provider, startProvider } from './providers.ts'

const HOPS = 3
/** Sessions that decode while the long prompt comes. */
const BESIDE = 4
/** Tokens of theirs that are measured before it comes. */
const TOKENS_BEFORE = 40
/** Most tokens that they draw: enough for as long as the prompt takes. */
const TOKENS_BESIDE = 2_000
/** Tokens that warm each session up. */
const WARM_UP = 3

interface Setup {
  readonly path: string
  readonly folder: string
  readonly threads: number
  readonly rounds: number
  readonly tokens: number
  readonly sessions: number
  readonly prompt: number
  readonly log: (message: string) => void
}

export const bench: Bench = {
  name: 'batching',
  description:
    'many sessions on three stages: throughput, fairness, a long prompt beside them, split KV caches ' +
    '(--shape 1b|3b --threads N --rounds N --tokens N --sessions N --prompt N)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        shape: { type: 'string', default: '1b' },
        threads: { type: 'string', default: String(Math.max(1, availableParallelism() - 1)) },
        rounds: { type: 'string', default: '5' },
        tokens: { type: 'string', default: '16' },
        sessions: { type: 'string', default: '32' },
        prompt: { type: 'string', default: '4000' }
      }
    })
    const [threads, rounds, tokens] = [Number(values.threads), Number(values.rounds), Number(values.tokens)]
    const [sessions, prompt] = [Number(values.sessions), Number(values.prompt)]
    const cache = join(tmpdir(), 'shoal-bench')
    await mkdir(cache, { recursive: true })
    log('writing the model (once)')
    const path = await writeShape(values.shape as ShapeName, 'Q4_0', cache)
    const folder = await mkdtemp(join(tmpdir(), 'shoal-batching-'))
    try {
      return {
        ...(await measureChain({ path, folder, threads, rounds, tokens, sessions, prompt, log })),
        ...(await measureKvSplit({ model: path, threads, sessions, rounds, log }))
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

async function measureChain(setup: Setup): Promise<Record<string, Figure>> {
  const { path, folder, threads, sessions, tokens, prompt, log } = setup
  const model = await openModel(path)
  const { id, blockCount } = model
  await model.close()
  const perSession = PROMPT_ROWS + tokens + WARM_UP
  const context = Math.max(sessions * perSession, BESIDE * (PROMPT_ROWS + TOKENS_BESIDE) + prompt + 1)
  const whole = new LlamaEngine({
    ...{ files: [path], context: sessions * perSession, sequences: sessions, threads, gpuLayers: 0 }
  })
  const node = new Node({ dataDir: folder, listen: [], peers: [], ephemeral: true })
  const other = new Node({ dataDir: join(folder, 'other'), listen: [], peers: [], ephemeral: true })
  const providers: Provider[] = []
  try {
    log('starting one process with all blocks, and three with a third each')
    await Promise.all([whole.start(), node.start(), other.start()])
    for (let sequence = 0; sequence < sessions; sequence++) {
      await whole.setSampler(sequence, { temperature: 0, seed: 0 })
    }
    const flags = ['--threads', String(threads), '--context', String(context), '--gpu-layers', '0']
    flags.push('--sessions', String(Math.max(sessions, BESIDE + 1)))
    for (let hop = 0; hop < HOPS; hop++) {
      const border = (at: number): number => Math.round((at * blockCount) / HOPS)
      const blocks = `${border(hop)}-${border(hop + 1)}`
      providers.push(await startProvider({ model: path, blocks, folder, flags }))
    }
    const addresses = providers.map(({ address }) => address)
    const chainOf = async (of: Node): Promise<ChainHop[]> => findChain(await discover(of.host, addresses), id)
    const crowd = await measureCrowd(setup, whole, node, await chainOf(node))
    await whole.stop()
    return { ...crowd, ...(await measurePrompt(setup, node, other, chainOf)) }
  } finally {
    await Promise.all(providers.map((provider) => provider.stop()))
    await Promise.all([node.stop(), other.stop(), whole.stop()])
  }
}

/** Throughput and fairness. */
async function measureCrowd(
  { rounds, tokens, sessions, threads, log }: Setup,
  whole: LlamaEngine,
  node: Node,
  chain: readonly ChainHop[]
): Promise<Record<string, Figure>> {
  const runs: { readonly whole: number; readonly chain: number; readonly evenness: number }[] = []
  for (let round = -1; round < rounds; round++) {
    const wholeRate = await runWhole(whole, sessions, tokens)
    const crowd = await startCrowd(node, chain, { sessions, tokens: tokens + WARM_UP })
    await crowd.have(tokens + WARM_UP)
    await crowd.close()
    if (round < 0) continue // the first pair only warms caches
    const run = { whole: wholeRate, ...ratesOf(crowd) }
    runs.push(run)
    log(`round ${round + 1}: whole ${run.whole.toFixed(1)}, chain ${run.chain.toFixed(1)} tokens per second`)
  }
  const of = (value: (run: (typeof runs)[number]) => number): { value: number; runs: number[] } => {
    const values = runs.map(value)
    return { value: rounded(median(values)), runs: values.map(rounded) }
  }
  const note = `${sessions} sessions, ${threads} threads per process`
  return {
    throughput: { ...of(({ whole, chain }) => chain / whole), target: '>= 0.9', unit: 'ratio', note },
    fairness: { ...of(({ evenness }) => evenness), target: '>= 0.5', unit: 'ratio', note: 'slowest ÷ mean' },
    whole: {
      ...of(({ whole }) => whole),
      unit: 'tokens per second',
      note: 'one process, one batch per step'
    },
    chain: { ...of(({ chain }) => chain), unit: 'tokens per second' }
  }
}

/** Tokens per second of llama.cpp's own batches: a row of each sequence per step. */
async function runWhole(engine: LlamaEngine, sessions: number, tokens: number): Promise<number> {
  const all = Array.from({ length: sessions }, (_, sequence) => sequence)
  const rows = all.map((session) => ({ position: 0, tokens: promptOf(session) }))
  for (const sequence of all) await engine.truncate(sequence, 0)
  let started = 0
  for (let step = 0; step < tokens + WARM_UP; step++) {
    if (step === WARM_UP) started = performance.now()
    const { groups } = await engine.run(
      rows.map((row, sequence) => ({ sequence, ...row, output: 'sample-last' }))
    )
    for (const [sequence, { sampled }] of groups.entries()) {
      const { position, tokens: sent } = rows[sequence] as (typeof rows)[number]
      rows[sequence] = { position: position + sent.length, tokens: sampled as Int32Array<ArrayBuffer> }
    }
  }
  return (sessions * tokens * 1000) / (performance.now() - started)
}

/** While all of them decode: from the time that the last has warmed up to the first one's end. */
function ratesOf({ times }: Crowd): { chain: number; evenness: number } {
  const from = Math.max(...times.map((of) => of[WARM_UP - 1] as number))
  const to = Math.min(...times.map((of) => of.at(-1) as number))
  const rates = times.map(
    (of) => (of.filter((time) => time > from && time <= to).length * 1000) / (to - from)
  )
  const total = rates.reduce((sum, rate) => sum + rate, 0)
  return { chain: total, evenness: (Math.min(...rates) * rates.length) / total }
}

/** What sessions feel while another consumer's long prompt is computed. */
async function measurePrompt(
  { prompt, log }: Setup,
  node: Node,
  other: Node,
  chainOf: (node: Node) => Promise<ChainHop[]>
): Promise<Record<string, Figure>> {
  const chain = await chainOf(other)
  const alone = await timeToFirstToken(other, chain, prompt)
  log(`a prompt of ${prompt} alone: ${(alone / 1000).toFixed(1)} s`)
  const crowd = await startCrowd(node, await chainOf(node), { sessions: BESIDE, tokens: TOKENS_BESIDE })
  await crowd.have(WARM_UP)
  const started = performance.now()
  await crowd.have(WARM_UP + TOKENS_BEFORE)
  const sent = performance.now()
  const beside = await timeToFirstToken(other, chain, prompt)
  const ended = performance.now()
  await crowd.close()
  const before = intervals(crowd, started, sent)
  const during = intervals(crowd, sent, ended)
  log(
    `beside ${BESIDE} sessions: ${(beside / 1000).toFixed(1)} s; ${during.length} tokens of theirs meanwhile`
  )
  return {
    prompt_stall: {
      value: rounded(median(during) / median(before)),
      target: '<= 2.5',
      unit: 'ratio',
      note: `time per token of ${BESIDE} sessions while a prompt of ${prompt} comes ÷ before, medians`
    },
    prompt_stall_p95: {
      value: rounded(percentile(during, 0.95) / percentile(before, 0.95)),
      unit: 'ratio',
      note: '95th percentiles'
    },
    token_before: { value: rounded(median(before)), unit: 'ms' },
    token_during: { value: rounded(median(during)), unit: 'ms' },
    token_during_p95: { value: rounded(percentile(during, 0.95)), unit: 'ms' },
    prompt_alone: { value: rounded(alone), unit: 'ms to the first token' },
    prompt_beside: { value: rounded(beside), unit: 'ms to the first token' }
  }
}

function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}
