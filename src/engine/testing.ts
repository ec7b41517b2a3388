// What the tests of this folder share.
import type { Engine, EngineInit, RowGroup, SamplerSettings } from './contract.ts'
import { LlamaEngine } from './llama-engine.ts'

export const DEMO = 'models/demo.gguf'

/** An engine with the demo model unless other files are given, on one thread. */
export async function startEngine(init: Partial<EngineInit> = {}): Promise<LlamaEngine> {
  const defaults = { files: [DEMO], context: 512, sequences: 4, threads: 1, gpuLayers: 0, maxOutputs: 64 }
  const engine = new LlamaEngine({ ...defaults, ...init })
  await engine.start()
  return engine
}

/** Runs one group; throws its error. */
export async function runOne(engine: Engine, group: RowGroup): Promise<Float32Array | Int32Array> {
  const [result] = (await engine.run([group])).groups
  if (result?.error !== undefined) throw result.error
  return result?.sampled ?? result?.logits ?? result?.hidden ?? new Int32Array()
}

/** Ids that a sequence, begun anew with these settings, draws one by one after a prompt. */
export async function generate(
  engine: Engine,
  sequence: number,
  prompt: Int32Array,
  count: number,
  settings: SamplerSettings
): Promise<number[]> {
  await engine.drop(sequence)
  await engine.setSampler(sequence, settings)
  const drawn: number[] = []
  let rows = { position: 0, tokens: prompt }
  while (drawn.length < count) {
    const [token] = await runOne(engine, { sequence, ...rows, output: 'sample-last' })
    drawn.push(token as number)
    rows = { position: rows.position + rows.tokens.length, tokens: Int32Array.of(token as number) }
  }
  return drawn
}

export async function textOf(engine: Engine, tokens: ArrayLike<number>): Promise<string> {
  const pieces = await engine.pieces(Int32Array.from(tokens))
  return Buffer.concat(pieces.map(({ bytes }) => bytes)).toString()
}

export function largest(values: ArrayLike<number>): number {
  let best = 0
  for (let index = 1; index < values.length; index++) {
    if ((values[index] as number) > (values[best] as number)) best = index
  }
  return best
}

export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = a.length === b.length ? 0 : Number.POSITIVE_INFINITY
  for (let index = 0; index < a.length; index++) {
    difference = Math.max(difference, Math.abs((a[index] as number) - (b[index] as number)))
  }
  return difference
}
