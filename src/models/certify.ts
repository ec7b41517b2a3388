/**
 * Certification: the same rows through the whole model and through a chain of its spans, every logit compared.
 * Equal batch shapes and threads on both sides, so that equal means bit for bit.
 */
import { type BatchResult, type Engine, type EngineInit, type KvType, LlamaEngine } from '../engine/index.ts'
import type { ModelFile } from './model-file.ts'
import { writeSpan } from './span-files.ts'

/** One step of the script that all engines run. */
type Step =
  | { readonly rows: readonly { readonly sequence: number; readonly count: number }[] }
  | { readonly truncate: number; readonly to: number }
  | { readonly drop: number }

export interface CertifyOptions {
  /** Each a list of blocks where a new stage begins. Default: near both ends, in the middle, and in thirds. */
  readonly cuts?: readonly (readonly number[])[]
  readonly kvType?: KvType
  readonly threads?: number
  /** Where spans are written. */
  readonly folder: string
  /** Every stage but the last also holds this many blocks more than it computes, and leaves early. */
  readonly overlap?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (message: string) => void
}

export interface CutReport {
  readonly cut: readonly number[]
  readonly largestDifference: number
  readonly bitEqual: boolean
  /** Logit rows compared. */
  readonly rows: number
}

export interface CertifyReport {
  readonly model: string
  readonly architecture: string
  readonly blockCount: number
  /** 0: none. */
  readonly slidingWindow: number
  /** Whether the script outgrew the window (a long one would take too long). */
  readonly windowWrapped: boolean
  readonly cuts: readonly CutReport[]
}

/** A window up to this many positions is outgrown by the script. */
const LONGEST_WRAP = 256
const PROMPT_ROWS = 48

function script(slidingWindow: number): Step[] {
  const wraps = slidingWindow > 0 && slidingWindow <= LONGEST_WRAP
  const long = wraps ? slidingWindow * 3 : PROMPT_ROWS
  const half = Math.floor(long / 2)
  const rows = (...groups: [number, number][]): Step => ({
    rows: groups.map(([sequence, count]) => ({ sequence, count }))
  })
  const one = rows([0, 1])
  return [
    rows([0, long]),
    ...[one, one, one, one],
    rows([0, 1], [1, 7]),
    rows([2, half]),
    ...Array.from({ length: 3 }, () => rows([0, 1], [1, 1], [2, 1])),
    { truncate: 0, to: half },
    rows([0, 5]),
    ...[one, one],
    { truncate: 0, to: 3 },
    rows([0, half]),
    one,
    { drop: 1 },
    rows([1, long]),
    rows([0, 1], [1, 1]),
    { truncate: 2, to: 1 },
    rows([2, 4]),
    rows([0, 1], [1, 1], [2, 1])
  ]
}

/**
 * Runs every cut. Only one engine is alive at a time (a stage gets all of its predecessor's hidden states at
 * once), so a model needs no more memory than it takes to run it whole.
 */
export async function certify(model: ModelFile, options: CertifyOptions): Promise<CertifyReport> {
  const { blockCount } = model
  const report = (message: string): void => options.onProgress?.(message)
  report('whole model')
  const whole = await withEngine({ files: model.files, maxOutputs: MAX_ROWS }, options, async (engine) => {
    const { slidingWindow, vocabulary } = engine.description
    const steps = script(slidingWindow)
    const plan: Script = { steps, tokens: tokensFor(steps, vocabulary), kept: new Map() }
    return { ...plan, slidingWindow, vocabulary, outputs: await runScript(engine, plan, 'logits-all') }
  })
  const cuts: CutReport[] = []
  for (const cut of options.cuts ?? defaultCuts(blockCount)) {
    report(`cut at ${cut.join(', ')}`)
    const logits = await runChain(model, cut, whole, options)
    cuts.push(compare(cut, whole, logits))
  }
  const { name, architecture } = model
  const windowWrapped = whole.slidingWindow > 0 && whole.slidingWindow <= LONGEST_WRAP
  return { model: name, architecture, blockCount, slidingWindow: whole.slidingWindow, windowWrapped, cuts }
}

export function defaultCuts(blockCount: number): number[][] {
  const third = Math.floor(blockCount / 3)
  const candidates = [[1], [Math.floor(blockCount / 2)], [blockCount - 1], [third, 2 * third]]
  const valid = candidates.filter((cut) => cut.every((at, i) => at > (cut[i - 1] ?? 0) && at < blockCount))
  return [...new Map(valid.map((cut) => [cut.join(), cut])).values()]
}

const MAX_ROWS = 1024

/** Runs one engine. */
export async function withEngine<T>(
  init: Partial<EngineInit> & { files: readonly string[] },
  options: Pick<CertifyOptions, 'kvType' | 'threads' | 'signal'>,
  use: (engine: Engine) => Promise<T>
): Promise<T> {
  const kvType = options.kvType ?? 'f16'
  const engine = new LlamaEngine({
    context: 4096,
    sequences: 4,
    threads: options.threads ?? 1,
    maxRows: MAX_ROWS,
    kvTypeK: kvType,
    kvTypeV: kvType,
    gpuLayers: 0,
    ...init
  })
  try {
    await engine.start(options.signal === undefined ? {} : { signal: options.signal })
    return await use(engine)
  } finally {
    await engine.stop()
  }
}

interface Script {
  readonly steps: readonly Step[]
  readonly tokens: readonly Int32Array[][]
  /**
   * Lengths after each truncation, by step, from the first engine that ran it. The whole model drops a sequence
   * whose window has moved on, a span without windows would keep it: in a chain the shortest counts.
   */
  readonly kept: Map<number, number>
}

async function runChain(
  model: ModelFile,
  cut: readonly number[],
  script: Script,
  options: CertifyOptions
): Promise<Float32Array[][]> {
  const borders = [0, ...cut, model.blockCount]
  let between: Float32Array[][] | undefined
  for (let index = 0; index + 1 < borders.length; index++) {
    const start = borders[index] as number
    const end = borders[index + 1] as number
    const last = end === model.blockCount
    // A stage that leaves early holds blocks that the next one computes; the head would come along at the end.
    const held = last ? end : Math.min(end + (options.overlap ?? 0), model.blockCount - 1)
    const span = await writeSpan(model, { start, end: held }, options.folder, { allowUncertified: true })
    const inputs = between
    between = await withEngine({ ...span, maxOutputs: MAX_ROWS }, options, (engine) =>
      runScript(engine, script, last ? 'logits-all' : 'hidden', inputs, end - start - 1)
    )
  }
  return between as Float32Array[][]
}

/** Random ids for every step, from a fixed seed. */
function tokensFor(steps: readonly Step[], vocabulary: number): Int32Array[][] {
  let state = 12_345
  const next = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return (state >>> 8) % vocabulary
  }
  return steps.map((step) =>
    'rows' in step ? step.rows.map(({ count }) => Int32Array.from({ length: count }, next)) : []
  )
}

async function runScript(
  engine: Engine,
  { steps, tokens, kept }: Script,
  output: 'hidden' | 'logits-all',
  inputs?: readonly Float32Array[][],
  leaveAfter?: number
): Promise<Float32Array[][]> {
  const lengths = new Map<number, number>()
  const outputs: Float32Array[][] = []
  for (const [index, step] of steps.entries()) {
    outputs.push([])
    if ('drop' in step) {
      await engine.drop(step.drop)
      lengths.set(step.drop, 0)
    } else if ('truncate' in step) {
      const length = kept.get(index) ?? step.to
      const actual = await engine.truncate(step.truncate, length)
      if (kept.has(index) && actual !== length) throw new Error(`truncating to ${length} kept ${actual}`)
      kept.set(index, actual)
      lengths.set(step.truncate, actual)
    } else {
      const groups = step.rows.map(({ sequence, count }, group) => {
        const position = lengths.get(sequence) ?? 0
        lengths.set(sequence, position + count)
        const hidden = inputs?.[index]?.[group]
        const ids = tokens[index]?.[group] as Int32Array
        return {
          ...{ sequence, position, tokens: ids, output },
          ...(hidden === undefined ? {} : { hidden }),
          ...(output === 'hidden' && leaveAfter !== undefined ? { leaveAfter } : {})
        }
      })
      outputs[index] = valuesOf(await engine.run(groups))
    }
  }
  return outputs
}

function valuesOf(result: BatchResult): Float32Array[] {
  return result.groups.map(({ error, hidden, logits }) => {
    if (error !== undefined) throw error
    return (hidden ?? logits) as Float32Array
  })
}

function compare(
  cut: readonly number[],
  whole: { readonly outputs: readonly Float32Array[][]; readonly vocabulary: number },
  chained: readonly Float32Array[][]
): CutReport {
  let largestDifference = 0
  let bitEqual = true
  let rows = 0
  for (const [index, groups] of whole.outputs.entries()) {
    for (const [group, expected] of groups.entries()) {
      const actual = chained[index]?.[group] as Float32Array
      rows += expected.length / whole.vocabulary
      for (let at = 0; at < expected.length; at++) {
        if (Object.is(expected[at], actual[at])) continue
        bitEqual = false
        const difference = Math.abs((expected[at] as number) - (actual[at] as number))
        largestDifference = Math.max(largestDifference, Number.isNaN(difference) ? Infinity : difference)
      }
    }
  }
  return { cut, largestDifference, bitEqual, rows }
}
