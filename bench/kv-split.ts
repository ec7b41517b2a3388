/** What sequences that share the KV cache's cells cost against such with cells of their own, decoding together. */
import { LlamaEngine, type RowGroup } from '../src/engine/index.ts'
import { type Figure, median, rounded } from './bench.ts'
import { promptOf } from './crowd.ts'

/** Positions of each sequence. */
const FILLS = { short: 16, long: 256 }
/** Per round, of which three say enough: steps at a long fill take a second each. */
const STEPS = 4
const MOST_ROUNDS = 3

interface KvSplitInit {
  readonly model: string
  readonly threads: number
  readonly sessions: number
  readonly rounds: number
  readonly log: (message: string) => void
}

/** Tokens per second with split caches by those with a common one, at a short and a long fill. */
export async function measureKvSplit(init: KvSplitInit): Promise<Record<string, Figure>> {
  const { model, threads, sessions, log } = init
  const rounds = Math.min(init.rounds, MOST_ROUNDS)
  const context = sessions * Math.ceil((FILLS.long + 2 * (rounds + 1) * STEPS) / 256) * 256
  const common = { files: [model], context, sequences: sessions, threads, gpuLayers: 0 }
  const engines = [true, false].map((kvUnified) => new LlamaEngine({ ...common, kvUnified }))
  const figures: Record<string, Figure> = {}
  try {
    for (const engine of engines) {
      await engine.start()
      for (let sequence = 0; sequence < sessions; sequence++) {
        await engine.setSampler(sequence, { temperature: 0, seed: 0 })
      }
    }
    for (const [name, fill] of Object.entries(FILLS)) {
      for (const [index, engine] of engines.entries()) await fillAll(engine, sessions, fill, index === 0)
      log(`filled ${sessions} sequences with ${fill} positions each`)
      // All of them, then every other one: a stage in a chain rarely has rows of all its sessions.
      const everybody = Array.from({ length: sessions }, (_, sequence) => sequence)
      const half = everybody.filter((sequence) => sequence % 2 === 0)
      let position = fill
      for (const [who, sequences] of Object.entries({ all: everybody, half })) {
        const ratios: number[] = []
        for (let round = -1; round < rounds; round++) {
          const [unified, split] = [
            await stepMs(engines[0] as LlamaEngine, sequences, position),
            await stepMs(engines[1] as LlamaEngine, sequences, position)
          ]
          position += STEPS
          if (round < 0) continue // the first pair only warms caches
          ratios.push(unified / split)
          log(
            `${fill} positions, ${who}: ${unified.toFixed(1)} ms unified, ${split.toFixed(1)} ms split per step`
          )
        }
        figures[`kv_split_${name}_${who}`] = {
          value: rounded(median(ratios)),
          unit: 'ratio',
          runs: ratios.map(rounded),
          note: `split ÷ unified tokens per second, ${sequences.length} of ${sessions} sequences of ${fill} positions, one process`
        }
      }
    }
    return figures
  } finally {
    for (const engine of engines) await engine.stop()
  }
}

/**
 * One sequence computes, and the others take over its state: `copy` would share its cells. A split cache's state
 * can't be restored, so there all of them compute.
 */
async function fillAll(engine: LlamaEngine, sessions: number, fill: number, unified: boolean): Promise<void> {
  const tokens = promptOf(0, fill)
  let state: Uint8Array | undefined
  for (let sequence = 0; sequence < sessions; sequence++) {
    await engine.truncate(sequence, 0)
    if (state !== undefined) await engine.restore(sequence, state, tokens)
    else await engine.run([{ sequence, position: 0, tokens, output: 'none' }])
    if (unified) state ??= await engine.save(sequence)
  }
}

/** Median milliseconds of steps with a row of each of the sequences, which all have `from` positions. */
async function stepMs(engine: LlamaEngine, sequences: readonly number[], from: number): Promise<number> {
  const times: number[] = []
  for (let position = from; position < from + STEPS; position++) {
    const groups = sequences.map(
      (sequence): RowGroup => ({
        sequence,
        position,
        tokens: Int32Array.of(100 + sequence),
        output: 'sample-last'
      })
    )
    const started = performance.now()
    await engine.run(groups)
    times.push(performance.now() - started)
  }
  return median(times)
}
