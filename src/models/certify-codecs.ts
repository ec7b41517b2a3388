/**
 * What codecs of hidden states cost a model: its spans compute a text with the states at the cuts written and read in each
 * codec, and every prediction is compared with that of the same spans in f32. All run in equal batches, so that nothing
 * but the codec makes a difference.
 */
import { ShoalError } from '../common/index.ts'
import { type Engine, LlamaEngine, type Output } from '../engine/index.ts'
import { bytesPerRow, decodeRows, encodeRows, type RowCodec } from '../net/index.ts'
import { readText } from './adapt/text.ts'
import { type CertifyOptions, withEngine } from './certify.ts'
import { type CodecReport, isCertified, PredictionCosts } from './certify-costs.ts'
import type { ModelFile } from './model-file.ts'
import { writeSpan } from './span-files.ts'

const LOSSY: readonly RowCodec[] = ['f16', 'bf16', 'q8']
/** Each cut adds its errors. A chain of more stages is slower than people put up with. */
const STAGES = 8
/** Rows whose logits are asked for at once: 32 MB with a vocabulary of 128,000. */
const LOGIT_ROWS = 64

export interface CertifyCodecsOptions
  extends Pick<CertifyOptions, 'folder' | 'kvType' | 'threads' | 'signal' | 'onProgress'> {
  /** A file. */
  readonly text: string
  /** Tokens per chunk, at most 1,024; those of its second half are foretold. Default 512. */
  readonly context?: number
  /** Of the text; default 16. */
  readonly chunks?: number
  /** Spans that the model is cut into; default 8, or one for each block. */
  readonly stages?: number
  /** Default: all but f32. */
  readonly codecs?: readonly RowCodec[]
}

export interface CodecsReport {
  readonly model: string
  readonly architecture: string
  readonly blockCount: number
  /** Where stages begin. */
  readonly cuts: readonly number[]
  /** Tokens that were foretold. */
  readonly scored: number
  /** In f32. */
  readonly perplexity: number
  /** The largest number that crossed a cut. */
  readonly largest: number
  readonly codecs: readonly CodecReport[]
}

/** A chunk of the text as it enters a span. */
interface Chunk {
  readonly tokens: Int32Array
  /** Undefined for the first span. */
  readonly hidden: Float32Array | undefined
}

/** A text's way through the spans. */
interface Variant {
  readonly codec: RowCodec
  /** Hidden states of each chunk, as they were computed last; undefined once the codec could not hold them. */
  states: readonly Float32Array[] | undefined
  readonly costs: PredictionCosts
}

/**
 * One engine is alive at a time: it takes no more memory than the whole model, and the text's hidden states. Throws a
 * ShoalError TEXT_FILE for a text that is too short.
 */
export async function certifyCodecs(model: ModelFile, options: CertifyCodecsOptions): Promise<CodecsReport> {
  const { name, architecture, blockCount } = model
  const stages = Math.min(options.stages ?? STAGES, blockCount)
  if (stages < 2)
    throw new ShoalError('CERTIFY', `${name} in ${stages} stage: there is nothing to write in a codec.`)
  const borders = Array.from({ length: stages + 1 }, (_, at) => Math.round((at * blockCount) / stages))
  const chunks = await chunksOf(model, options)
  const variant = (codec: RowCodec): Variant => ({ codec, states: undefined, costs: new PredictionCosts() })
  const reference = variant('f32')
  const variants = (options.codecs ?? LOSSY).map(variant)
  const all = [reference, ...variants]
  let largest = 0
  for (let index = 0; index < stages; index++) {
    const [start = 0, end = 0] = borders.slice(index, index + 2)
    options.onProgress?.(`blocks ${start}-${end}`)
    const span = await writeSpan(model, { start, end }, options.folder, { allowUncertified: true })
    await withEngine({ ...span, maxOutputs: LOGIT_ROWS }, options, async (engine) => {
      if (end === blockCount) return compare(engine, chunks, reference, all)
      for (const one of all) {
        if (start > 0 && one.states === undefined) continue
        one.states = crossed(one.codec, await hiddenOf(engine, chunks, one), model.width)
      }
      largest = (reference.states ?? []).reduce(largestOf, largest)
    })
  }
  return {
    ...{ model: name, architecture, blockCount, cuts: borders.slice(1, -1), largest },
    ...{ scored: reference.costs.count, perplexity: reference.costs.perplexity },
    codecs: variants.map(reportOf)
  }
}

/** As llama-perplexity cuts a text. */
async function chunksOf(
  { files }: ModelFile,
  { text: path, context = 512, chunks = 16 }: CertifyCodecsOptions
): Promise<Int32Array[]> {
  const text = await readText(path)
  const engine = new LlamaEngine({ files, context: 1, sequences: 1, threads: 1, vocabularyOnly: true })
  try {
    await engine.start()
    const tokens = await engine.tokenize(text)
    const { beginToken } = engine.description
    const count = Math.min(chunks, Math.floor(tokens.length / context))
    if (count === 0) {
      const message = `The text ${path} has ${tokens.length} tokens; a chunk has ${context}. Use a longer text.`
      throw new ShoalError('TEXT_FILE', message)
    }
    return Array.from({ length: count }, (_, index) => {
      const chunk = tokens.slice(index * context, (index + 1) * context)
      if (beginToken >= 0) chunk[0] = beginToken
      return chunk
    })
  } finally {
    await engine.stop()
  }
}

/** Rows `[from, to)` of a chunk. */
async function run(
  engine: Engine,
  { tokens, hidden }: Chunk,
  [from, to]: readonly [number, number],
  output: Output
): Promise<Float32Array> {
  const width = (hidden?.length ?? 0) / tokens.length
  const rows = hidden && { hidden: hidden.subarray(from * width, to * width) }
  const group = { sequence: 0, position: from, tokens: tokens.subarray(from, to), output, ...rows }
  const [result] = (await engine.run([group])).groups
  if (result?.error !== undefined) throw result.error
  return result?.hidden ?? result?.logits ?? new Float32Array(0)
}

async function hiddenOf(
  engine: Engine,
  chunks: readonly Int32Array[],
  { states }: Variant
): Promise<Float32Array[]> {
  const results: Float32Array[] = []
  for (const [index, tokens] of chunks.entries()) {
    await engine.drop(0)
    results.push(await run(engine, { tokens, hidden: states?.[index] }, [0, tokens.length], 'hidden'))
  }
  return results
}

/** Written and read. */
function crossed(
  codec: RowCodec,
  states: readonly Float32Array[],
  width: number
): readonly Float32Array[] | undefined {
  for (const state of states) {
    const bytes = new Uint8Array((state.length / width) * bytesPerRow(codec, width))
    if (!encodeRows(codec, state, width, bytes)) return undefined
    decodeRows(codec, bytes, width, state)
  }
  return states
}

function largestOf(largest: number, state: Float32Array): number {
  return state.reduce((most, value) => Math.max(most, Math.abs(value)), largest)
}

async function compare(
  engine: Engine,
  chunks: readonly Int32Array[],
  reference: Variant,
  variants: readonly Variant[]
): Promise<void> {
  for (const [index, tokens] of chunks.entries()) {
    const expected = await logitsOf(engine, { tokens, hidden: reference.states?.[index] })
    const coming = tokens.subarray(tokens.length - expected.length)
    for (const { states, costs } of variants) {
      if (states === undefined) continue
      const isReference = costs === reference.costs
      const logits = isReference ? expected : await logitsOf(engine, { tokens, hidden: states[index] })
      for (const [row, token] of coming.entries()) {
        costs.add(logits[row] as Float32Array, expected[row] as Float32Array, token)
      }
    }
  }
}

/** Of the rows before each token of the second half. */
async function logitsOf(engine: Engine, chunk: Chunk): Promise<Float32Array[]> {
  const { vocabulary } = engine.description
  const last = chunk.tokens.length - 1
  const rows: Float32Array[] = []
  let from = chunk.tokens.length >> 1
  await engine.drop(0)
  await run(engine, chunk, [0, from], 'none')
  while (from < last) {
    const to = Math.min(from + LOGIT_ROWS, last)
    const logits = await run(engine, chunk, [from, to], 'logits-all')
    for (let at = 0; at < logits.length; at += vocabulary) rows.push(logits.subarray(at, at + vocabulary))
    from = to
  }
  return rows
}

function reportOf({ codec, costs: predictions }: Variant): CodecReport {
  if (predictions.count === 0) return { codec, certified: false }
  const { costs } = predictions
  return { codec, certified: isCertified(costs), costs }
}
