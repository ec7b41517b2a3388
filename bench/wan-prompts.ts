/**
 * R12 and R13: a long prompt over thin links. What is compared with is made of parts, each measured alone: what a
 * stage's engine takes for all rows (`C`), in batches as they are or as large as it can, whichever is faster, and what
 * all rows take from one node to the next (`W`). Serial: each stage computes all, then sends all. The bound: nothing is
 * faster than the busiest stage, link or processor, and the first rows have to get there and the last rows on.
 */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { LlamaEngine } from '../src/engine/index.ts'
import { openModel, writeSpan } from '../src/models/index.ts'
import { createHost, type Frame, type Host } from '../src/net/index.ts'
import { defaultSampler, openSession, type Session } from '../src/session/index.ts'
import { emulate, PROFILES, profileNamed, type WanProfile } from '../test/wan/index.ts'
import { type Figure, median, rounded } from './bench.ts'
import { promptOf } from './crowd.ts'
import type { WanSetup } from './wan.bench.ts'

/** As sessions cut all but a long prompt's end. */
const CHUNK_ROWS = 64
/** As large as a stage's batches are. */
const BATCH_ROWS = [CHUNK_ROWS, 512]
const NO_END = new Set<number>()
/** Of another turn: a question, after the answer's tokens. */
const TURN_ROWS = 32
const ANSWER_TOKENS = 8

interface Parts {
  /** Milliseconds for all rows of each stage, alone. */
  readonly computeMs: readonly number[]
  /** For all rows from one node to the next. */
  readonly wireMs: number
}

export async function measurePrompts(
  setup: WanSetup,
  {
    rows,
    profile: name,
    parts: wanted
  }: { readonly rows: number; readonly profile: string; readonly parts: ReadonlySet<string> }
): Promise<Record<string, Figure>> {
  const { wan, rounds, log } = setup
  const profile = profileNamed(name)
  wan.link(PROFILES.none)
  const computeMs = wanted.has('R12') ? await measureComputing(setup, rows) : []
  const wireMs = await measureWire(profile, rows, wan.width)
  log(
    `${rows} rows alone: ${computeMs.map(seconds).join(', ')} s to compute, ${seconds(wireMs)} s over a link of ${name}`
  )
  wan.link(profile)
  const turns: { readonly cold: number; readonly warm: number }[] = []
  for (let round = 0; round < rounds; round++) {
    const turn = await twoTurns(setup, rows, round)
    turns.push(turn)
    log(`cold ${seconds(turn.cold)} s, another turn ${turn.warm.toFixed(0)} ms`)
  }
  const cold = median(turns.map((turn) => turn.cold))
  const figures: Record<string, Figure> = {}
  if (wanted.has('R12')) Object.assign(figures, reportR12({ computeMs, wireMs }, turns, profile, name, rows))
  if (wanted.has('R13')) {
    const ratios = turns.map((turn) => turn.warm / turn.cold)
    figures.R13 = {
      ...{ value: rounded(median(ratios)), target: '<= 0.06', unit: 'ratio', runs: ratios.map(rounded) },
      note:
        `${name}: ${ANSWER_TOKENS} + ${TURN_ROWS} more rows after ${rows} in the caches, ` +
        `${Math.round(median(turns.map(({ warm }) => warm)))} ms to the first token; ${seconds(cold)} s cold`
    }
  }
  return figures
}

function reportR12(
  { computeMs, wireMs }: Parts,
  turns: readonly { readonly cold: number }[],
  profile: WanProfile,
  name: string,
  rows: number
): Record<string, Figure> {
  const links = computeMs.length - 1
  const delayMs = profile.rttMs / 2
  // To the first stage, and the token's way back.
  const endsMs = 2 * delayMs
  const serialMs = sum(computeMs) + links * wireMs + endsMs
  const boundMs = pipelineBound({ computeMs, wireMs }, rows, delayMs, availableParallelism())
  const of = (value: (cold: number) => number): Pick<Figure, 'value' | 'runs'> => {
    const runs = turns.map(({ cold }) => value(cold))
    return { value: rounded(median(runs)), runs: runs.map(rounded) }
  }
  const parts = `${rows} rows alone: ${computeMs.map(seconds).join(', ')} s to compute, ${seconds(wireMs)} s per link`
  return {
    R12: {
      ...{ ...of((cold) => serialMs / cold), target: '>= 1.9', unit: 'ratio' },
      note: `${name}: ${seconds(serialMs)} s serially; ${parts}`
    },
    R12_bound: {
      ...{ ...of((cold) => cold / boundMs), target: '<= 1.1', unit: 'ratio' },
      note: `${name}: ${seconds(boundMs)} s is the pipeline's bound on ${availableParallelism()} cores`
    }
  }
}

/** Milliseconds. Stages and links in turn, each in pieces; and all stages on one machine's cores. */
export function pipelineBound(
  { computeMs, wireMs }: Parts,
  rows: number,
  delayMs: number,
  cores: number
): number {
  const piece = Math.min(1, CHUNK_ROWS / rows)
  const steps = computeMs.flatMap((ms, stage) => (stage === 0 ? [ms] : [wireMs - delayMs, ms]))
  const delays = (computeMs.length + 1) * delayMs
  const busiest = Math.max(...steps.map((ms) => ms + piece * (sum(steps) - ms)))
  return delays + Math.max(busiest, sum(computeMs) / Math.min(cores, computeMs.length))
}

/** Milliseconds that each stage's engine takes for all rows, all else being quiet. */
async function measureComputing({ wan, path, folder, threads }: WanSetup, rows: number): Promise<number[]> {
  const times: number[] = []
  for (const { start, end } of wan.chain) {
    const model = await openModel(path)
    const span = await writeSpan(model, { start, end }, join(folder, `alone-${start}`))
    await model.close()
    const { files, embedding } = span
    const engine = new LlamaEngine({
      ...{ files, context: rows, sequences: 1, threads, gpuLayers: 0 },
      ...(embedding === undefined ? {} : { embedding })
    })
    try {
      await engine.start()
      const tries: number[] = []
      for (const batch of BATCH_ROWS) tries.push(await computeAll(engine, rows, batch))
      times.push(Math.min(...tries))
    } finally {
      await engine.stop()
    }
  }
  return times
}

async function computeAll(engine: LlamaEngine, rows: number, batch: number): Promise<number> {
  await engine.drop(0)
  const { width, hiddenStates } = engine.description
  const output = hiddenStates ? 'hidden' : 'none'
  let takenMs = 0
  for (let position = 0; position < rows; position += batch) {
    const tokens = new Int32Array(Math.min(batch, rows - position)).fill(100)
    const hidden = Float32Array.from({ length: tokens.length * width }, (_, index) => Math.sin(index) / 10)
    const { groups, computeMs } = await engine.run([{ sequence: 0, position, tokens, hidden, output }])
    if (groups[0]?.error !== undefined) throw groups[0].error
    takenMs += computeMs
  }
  return takenMs
}

/** Milliseconds from the first row's leaving to the last one's arrival at another node, nobody computing. */
async function measureWire(profile: WanProfile, rows: number, width: number): Promise<number> {
  const links = emulate(PROFILES.none)
  const [from, to] = [hostOf([]), hostOf(['/ip4/127.0.0.1/tcp/0'])]
  const arrived = Promise.withResolvers<void>()
  let seen = 0
  to.serve({
    info: () => ({ version: '', stages: [], addresses: [], peers: [] }),
    control: (stream) => stream.abort(new Error('no stage here')),
    data: (_, stream) => {
      const receive = ({ tokens }: Frame): void => {
        seen += tokens.length
        if (seen === rows) arrived.resolve()
      }
      stream.start({ width, maxRows: CHUNK_ROWS }, { receive, end: () => {} })
      return { epoch: 0, length: 0, maxRows: CHUNK_ROWS }
    }
  })
  try {
    await Promise.all([from.start(), to.start()])
    const sender = await from.openData(to.peerId, to.addresses, new Uint8Array(16))
    links.profile = profile
    const started = performance.now()
    for (let position = 0; position < rows; position += CHUNK_ROWS) {
      const count = Math.min(CHUNK_ROWS, rows - position)
      const payload = new Uint8Array(count * width * Float32Array.BYTES_PER_ELEMENT)
      const tokens = new Int32Array(count)
      await sender.send({ epoch: 0, follows: 0, position, tokens, sample: 'none', codec: 'f32', payload })
    }
    await arrived.promise
    return performance.now() - started
  } finally {
    links.profile = PROFILES.none
    await Promise.all([from.stop(), to.stop()])
  }
}

function hostOf(listen: string[]): Host {
  return createHost({ identity: { ephemeral: true }, listen })
}

/** To the first token, in milliseconds: of a conversation that nobody has, and of its next turn. */
async function twoTurns(
  { wan }: WanSetup,
  rows: number,
  round: number
): Promise<{ cold: number; warm: number }> {
  const { node, chain } = wan
  const reserve = rows + ANSWER_TOKENS + TURN_ROWS + 1
  const session = await openSession(node, { chain, sampler: defaultSampler(), reserve })
  try {
    const prompt = promptOf(round, rows)
    const { firstMs: cold, tokens } = await answer(session, prompt, ANSWER_TOKENS)
    const next = Int32Array.from([...prompt, ...tokens, ...promptOf(round + 1_000, TURN_ROWS)])
    const { firstMs: warm } = await answer(session, next, 1)
    return { cold, warm }
  } finally {
    await session.close()
  }
}

async function answer(
  session: Session,
  prompt: Int32Array,
  maxTokens: number
): Promise<{ firstMs: number; tokens: number[] }> {
  const started = performance.now()
  const tokens: number[] = []
  let firstMs = 0
  for await (const token of session.generate(prompt, { maxTokens, endTokens: NO_END })) {
    if (tokens.length === 0) firstMs = performance.now() - started
    tokens.push(token)
  }
  return { firstMs, tokens }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2)
}
