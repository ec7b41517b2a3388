/**
 * How long an answer stands still when its middle stage is killed, against what cannot be avoided: whoever takes over
 * has to compute the context's rows (alone; nobody else works meanwhile), and to be sent them. R11.
 */
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LlamaEngine } from '../src/engine/index.ts'
import { openModel, writeSpan } from '../src/models/index.ts'
import { ask, longestStall, noticedAfter } from '../test/chaos/ask.ts'
import { Swarm } from '../test/chaos/providers.ts'
import type { Random } from '../test/models/random.ts'
import { type Figure, median, rounded } from './bench.ts'
import { writeShape } from './models.ts'

const CONTEXTS = [500, 1500]
const POSITIONS = 2048
/** As a session cuts its prompts, and as large as a stage makes its batches of what waits: the faster one counts. */
const BATCHES = [64, 512]
const TOKENS = 12
const KILL_AT = 6
/** Loopback, measured with frames of this size: DESIGN 1. */
const LINK_BYTES_PER_SECOND = 77_000_000

interface Run {
  readonly stallMs: number
  readonly prefillMs: number
  readonly noticedMs: number
}

export async function measureStalls({
  folder,
  rounds,
  log
}: {
  readonly folder: string
  readonly random: Random
  readonly rounds: number
  readonly log: (message: string) => void
}): Promise<Record<string, Figure>> {
  const cache = join(tmpdir(), 'shoal-bench')
  await mkdir(cache, { recursive: true })
  log('writing the model (once)')
  const path = await writeShape('1b', 'Q4_0', cache)
  const model = await openModel(path)
  const { width, blockCount } = model
  const [first, second] = [Math.round(blockCount / 3), Math.round((2 * blockCount) / 3)]
  const middle = { start: first, end: second }
  const spans = [`0-${first}`, `${first}-${second}`, `${second}-${blockCount}`]
  const span = await writeSpan(model, middle, join(folder, 'span'))
  await model.close()
  const engine = new LlamaEngine({ ...span, context: POSITIONS, sequences: 1, threads: 1, gpuLayers: 0 })
  const swarm = new Swarm(join(folder, 'stalls'), {
    ...{ model: path, spans, kinds: ['shoal'] },
    ...{ context: POSITIONS, sessions: 1, threads: 1 }
  })
  const figures: Record<string, Figure> = {}
  try {
    log('starting three providers, and a spare for the middle')
    await engine.start()
    await swarm.start()
    for (const context of CONTEXTS) {
      const runs: Run[] = []
      for (let round = 0; round < rounds; round++) {
        await swarm.launch(spans[1] as string, 'shoal')
        await swarm.directory.refresh()
        const killed = await killMiddle(swarm, context)
        const prefills: number[] = []
        for (const rows of BATCHES) prefills.push(await prefill(engine, context + KILL_AT, rows))
        runs.push({ ...killed, prefillMs: Math.min(...prefills) })
        const { stallMs, noticedMs, prefillMs } = runs.at(-1) as Run
        log(
          `context ${context}: ${Math.round(stallMs)} ms without a token (noticed after ` +
            `${Math.round(noticedMs)} ms), ${Math.round(prefillMs)} ms to compute its rows`
        )
      }
      Object.assign(figures, report(context, runs, width))
    }
    return figures
  } finally {
    await Promise.all([swarm.stop(), engine.stop()])
  }
}

/** Milliseconds that the lost stage's engine takes for so many rows, `most` at a time, all else being quiet. */
async function prefill(engine: LlamaEngine, rows: number, most: number): Promise<number> {
  await engine.drop(0)
  const { width } = engine.description
  let sum = 0
  for (let position = 0; position < rows; position += most) {
    const tokens = new Int32Array(Math.min(most, rows - position)).fill(100)
    const hidden = Float32Array.from({ length: tokens.length * width }, (_, index) => Math.sin(index) / 10)
    const { groups, computeMs } = await engine.run([
      { sequence: 0, position, tokens, hidden, output: 'hidden' }
    ])
    if (groups[0]?.error !== undefined) throw groups[0].error
    sum += computeMs
  }
  return sum
}

async function killMiddle(swarm: Swarm, context: number): Promise<Omit<Run, 'prefillMs'>> {
  const { spans } = swarm.settings
  const providers = spans.map((span) => swarm.of(span)[0] as NonNullable<ReturnType<Swarm['at']>>)
  const victim = providers[1] as (typeof providers)[number]
  const prompt = Int32Array.from({ length: context }, (_, index) => 100 + (index % 1000))
  const { host, relays } = swarm.consumer
  let at = 0
  let killed: Promise<void> | undefined
  const told = await ask(
    { host, relays, directory: swarm.directory },
    {
      ...{ chain: swarm.chain(providers), prompt, maxTokens: TOKENS, waitMs: 120_000 },
      onToken: (count) => {
        if (count !== KILL_AT) return
        at = performance.now()
        killed = swarm.kill(victim)
      }
    }
  )
  await killed
  return { stallMs: longestStall(told, at), noticedMs: noticedAfter(told, 'lost', at) }
}

function report(context: number, runs: readonly Run[], width: number): Record<string, Figure> {
  const bytes = (context + KILL_AT) * width * Float32Array.BYTES_PER_ELEMENT
  const sendMs = (bytes * 1000) / LINK_BYTES_PER_SECOND
  const ratios = runs.map(({ stallMs, prefillMs }) => stallMs / Math.max(prefillMs, sendMs))
  const of = (value: (run: Run) => number): number => Math.round(median(runs.map(value)))
  const note =
    `${of(({ stallMs }) => stallMs)} ms without a token, noticed after ${of(({ noticedMs }) => noticedMs)}; ` +
    `${of(({ prefillMs }) => prefillMs)} ms for an engine of the same span alone, 1 thread, batches of ` +
    `${BATCHES.join(' or ')}, the faster; ${Math.round(sendMs)} ms for the log's bytes on loopback`
  return {
    [`R11_${context}`]: {
      ...{ value: rounded(median(ratios)), target: '<= 1.5', unit: 'ratio', runs: ratios.map(rounded), note }
    }
  }
}
