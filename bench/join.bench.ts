/**
 * A swarm of twelve processes of mixed sizes that knows one address: how long until its model is covered, how long
 * until it is again after three were killed, and how often anybody moves without a reason.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { memoryOf, openModel } from '../src/models/index.ts'
import { writeModelFile } from '../test/models/file.ts'
import { tinyModel } from '../test/models/index.ts'
import { randomOf } from '../test/models/random.ts'
import { type Bench, type BenchContext, type Figure, median, rounded } from './bench.ts'
import { SwarmOfProcesses } from './processes.ts'

const BLOCKS = 24
/** Blocks that each node has memory for: 46 in all, so that any three can be missed. */
const SIZES = [2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 6, 7]
const KILLED = 3
const ROUNDS = 5
const TARGET_S = 30
const WATCH_MS = 5 * 60_000
/** Nobody waits for ever. */
const GIVE_UP_MS = 120_000
const SEED = 'join'

/** `--watch-seconds N` instead of five minutes, `--rounds N` instead of five. */
function numberOf({ flags }: BenchContext, flag: string, fallback: number): number {
  const index = flags.indexOf(flag)
  return index < 0 ? fallback : Number(flags[index + 1])
}

export const bench: Bench = {
  name: 'join',
  description:
    'twelve processes, one address: time to coverage, after a start and after deaths; moves (12 minutes)',
  async run(context) {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-join-'))
    const random = randomOf(SEED)
    const swarm = new SwarmOfProcesses(folder)
    try {
      const path = await writeModelFile(folder, 'model', tinyModel('llama', { blocks: BLOCKS }))
      const sizes = await memoryFor(path, SIZES)
      await swarm.start(path)
      return await measure(context, swarm, shuffled(sizes, random), random)
    } finally {
      await swarm.stop()
      await rm(folder, { recursive: true, force: true })
    }
  }
}

async function measure(
  context: BenchContext,
  swarm: SwarmOfProcesses,
  sizes: readonly number[],
  random: () => number
): Promise<Record<string, Figure>> {
  const { log } = context
  const started = performance.now()
  await Promise.all(
    sizes.map(async (bytes) => {
      await delay(2_000 * random())
      await swarm.add(bytes)
    })
  )
  const startS = await swarm.covered(started, GIVE_UP_MS)
  log(`covered after ${startS.toFixed(1)} s: ${swarm.spans().join(' ')}`)
  await swarm.settled()

  const after: number[] = []
  for (let round = 0; round < numberOf(context, '--rounds', ROUNDS); round++) {
    const killed = shuffled([...swarm.running], random)
      .toSorted((a, b) => swarm.dependants(b) - swarm.dependants(a))
      .slice(0, KILLED)
    const before = performance.now()
    const lost = await swarm.kill(killed)
    const seconds = await swarm.covered(before, GIVE_UP_MS)
    after.push(seconds)
    log(`without ${lost.join(' ')}: covered after ${seconds.toFixed(1)} s: ${swarm.spans().join(' ')}`)
    await Promise.all(killed.map(({ memoryBytes }) => swarm.add(memoryBytes)))
    await swarm.settled()
  }

  const watchMs = numberOf(context, '--watch-seconds', WATCH_MS / 1000) * 1000
  const moves = await swarm.watch(watchMs)
  log(`moves in ${watchMs / 1000} s: ${JSON.stringify(moves)}`)
  const target = `<= ${TARGET_S}`
  return {
    start: {
      value: rounded(startS),
      target,
      unit: 's',
      note: 'from the first process to a chain that an observer finds'
    },
    recovery: {
      value: rounded(median(after)),
      target,
      unit: 's',
      runs: after.map(rounded),
      note: 'after three were killed'
    },
    'worst-recovery': { value: rounded(Math.max(...after)), target, unit: 's' },
    moves: {
      value: Math.max(0, ...moves),
      target: '<= 1',
      unit: 'per node',
      runs: moves,
      note: 'most, in the five minutes after'
    }
  }
}

/** Bytes for so many blocks of the middle, and the embedding or the head instead of a part of one. */
async function memoryFor(path: string, blocks: readonly number[]): Promise<number[]> {
  const model = await openModel(path)
  await model.close()
  const { blockBytes, positionBytes, headBytes, embeddingBytes } = memoryOf(model, 'f16')
  const perBlock = Math.max(...blockBytes) + Math.max(...positionBytes) * SwarmOfProcesses.context
  return blocks.map((count) => Math.ceil(count * perBlock + Math.max(headBytes, embeddingBytes)))
}

function shuffled<T>(values: readonly T[], random: () => number): T[] {
  return values
    .map((value) => ({ value, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value)
}
