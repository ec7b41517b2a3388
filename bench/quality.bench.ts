/**
 * What quantizing costs: perplexity of one text and divergence from the F16 model, with and without an importance
 * matrix from another text. With a folder of llama.cpp's own tools, every result is compared with theirs.
 */
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import {
  calibrate,
  type Estimate,
  type EvaluateReport,
  evaluate,
  type ImportanceMatrix,
  type QuantizedModel,
  quantize,
  writeImportance
} from '../src/models/index.ts'
import { writeModelFile } from '../test/models/file.ts'
import { tinyModel } from '../test/models/index.ts'
import { type Bench, type Figure, rounded } from './bench.ts'
import { LlamaTools } from './llama-tools.ts'

/** COPY is the F16 model itself. */
const TYPES = ['COPY', 'Q8_0', 'Q6_K', 'Q5_K_M', 'Q4_K_M', 'Q4_0']
/** Enough for a hundred chunks, and tokenized in a moment. */
const TEXT_BYTES = 200_000
const CONTEXT = 512
const SHARED = resolve(import.meta.dirname, '../../shared')
/** Names in the bench's folder, where the tools run: they note names as they are given. */
const TEXT = 'text.txt'
const CALIBRATION = 'calibration.txt'
const IMATRIX = 'imatrix.gguf'
const PREDICTIONS = 'predictions'

interface Settings {
  readonly chunks: number
  readonly threads: number
  readonly folder: string
  readonly tools: LlamaTools | undefined
  readonly log: (message: string) => void
  /** A result of ours that has one of llama.cpp's beside it. */
  readonly compare: (what: string, ours: unknown, theirs: unknown) => void
}

export const bench: Bench = {
  name: 'quality',
  description: 'what quantizing costs (--model F16 --text FILE --calibration FILE --chunks N --llama FOLDER)',
  async run({ flags, log }) {
    const { values } = parseArgs({
      args: flags,
      options: {
        model: { type: 'string', default: join(SHARED, 'models/demo-f16.gguf') },
        text: { type: 'string', default: join(SHARED, 'texts/wikitext-2-test.txt') },
        calibration: { type: 'string', default: join(SHARED, 'texts/tinyshakespeare.txt') },
        chunks: { type: 'string', default: '16' },
        threads: { type: 'string', default: '1' },
        llama: { type: 'string' }
      }
    })
    const folder = await mkdtemp(join(tmpdir(), 'shoal-quality-'))
    try {
      await writeFile(join(folder, TEXT), (await readFile(values.text)).subarray(0, TEXT_BYTES))
      await writeFile(join(folder, CALIBRATION), (await readFile(values.calibration)).subarray(0, TEXT_BYTES))
      await copyFile(values.model, join(folder, 'demo.gguf'))
      await writeModelFile(folder, 'random', tinyModel('llama-wide', { type: 'F16' }))
      const tools = values.llama === undefined ? undefined : new LlamaTools(resolve(values.llama), folder)
      const results: boolean[] = []
      const compare = (what: string, ours: unknown, theirs: unknown): void => {
        results.push(ours === theirs)
        if (ours !== theirs) log(`${what}: ${String(ours)}, but llama.cpp's tool says ${String(theirs)}`)
      }
      const [chunks, threads] = [Number(values.chunks), Number(values.threads)]
      const settings = { chunks, threads, folder, tools, log, compare }
      const figures = { ...(await measure('demo', settings)), ...(await measure('random', settings)) }
      return { ...figures, "equal to llama.cpp's": equality(results) }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
}

function equality(results: readonly boolean[]): Figure {
  const unit = `of ${results.length} results`
  if (results.length === 0) return { value: 0, unit, note: 'not compared: no --llama FOLDER' }
  const note = 'matrices and files byte for byte; perplexities and divergences as printed'
  return { value: results.filter(Boolean).length, target: `= ${results.length}`, unit, note }
}

async function measure(model: string, settings: Settings): Promise<Record<string, Figure>> {
  const { chunks, threads, folder, tools, log, compare } = settings
  const original = join(folder, `${model}.gguf`)
  const run = { context: CONTEXT, chunks, threads, gpuLayers: 0 }
  log(`${model}: importance matrix`)
  const importance = await calibrate(original, join(folder, CALIBRATION), run)
  await writeImportance(join(folder, IMATRIX), importance)
  if (tools !== undefined) {
    await tools.imatrix({ model: original, text: CALIBRATION, chunks, threads }, 'their.gguf')
    compare(`${model}'s importance matrix`, ...(await bytesOf(folder, IMATRIX, 'their.gguf')))
    await tools.perplexity({ model: original, text: TEXT, chunks, threads }, PREDICTIONS)
  }
  const figures: Record<string, Figure> = {}
  for (const type of TYPES) {
    for (const matrix of type === 'COPY' ? [undefined] : [undefined, importance]) {
      const name = [model, type.replace('COPY', 'F16'), ...(matrix === undefined ? [] : ['imatrix'])].join(
        ' '
      )
      log(name)
      const quantized = await quantizeTo(name, original, type, matrix, settings)
      const [path] = quantized.files as [string]
      const report = await evaluate(path, join(folder, TEXT), { ...run, reference: original })
      if (tools !== undefined) await compareScores(name, path, report, tools, settings)
      Object.assign(figures, figuresOf(name, quantized, report))
    }
  }
  return figures
}

async function quantizeTo(
  name: string,
  original: string,
  type: string,
  matrix: ImportanceMatrix | undefined,
  { folder, threads, tools, compare }: Settings
): Promise<QuantizedModel> {
  const importance = matrix === undefined ? {} : { importance: async () => matrix, importanceFile: IMATRIX }
  const quantized = await quantize(original, join(folder, 'ours.gguf'), {
    ...{ type, threads, force: true },
    ...importance
  })
  if (tools !== undefined) {
    await tools.quantize(original, 'their.gguf', type, matrix === undefined ? undefined : IMATRIX)
    compare(`${name}'s file`, ...(await bytesOf(folder, 'ours.gguf', 'their.gguf')))
  }
  return quantized
}

async function compareScores(
  name: string,
  path: string,
  { perplexity, reference }: EvaluateReport,
  tools: LlamaTools,
  { chunks, threads, compare }: Settings
): Promise<void> {
  const { divergence, sameTop } = reference as NonNullable<EvaluateReport['reference']>
  const run = { model: path, text: TEXT, chunks, threads }
  const theirs = await tools.perplexity(run)
  compare(`${name}'s perplexity`, digits(perplexity.value.toFixed(4)), digits(theirs.perplexity))
  compare(`${name}'s perplexity's error`, digits(perplexity.error.toFixed(5)), digits(theirs.error))
  const their = await tools.divergence(run, PREDICTIONS)
  compare(`${name}'s mean divergence`, divergence.value.toFixed(6), their.mean)
  compare(`${name}'s median divergence`, divergence.median.toFixed(6), their.median)
  compare(`${name}'s 99 % divergence`, divergence.p99.toFixed(6), their.p99)
  compare(`${name}'s largest divergence`, divergence.max.toFixed(6), their.max)
  compare(`${name}'s same top`, (100 * sameTop.value).toFixed(3), their.sameTop)
}

/** A random model's perplexity has ten of them; its sum depends on which of the tool's threads is done first. */
function digits(printed: string): string {
  return Number(printed).toPrecision(8)
}

/** As text, to be compared by value. */
async function bytesOf(folder: string, ours: string, theirs: string): Promise<[string, string]> {
  const read = (name: string): Promise<string> => readFile(join(folder, name), 'base64')
  const [a, b] = [await read(ours), await read(theirs)]
  return a === b ? ['equal', 'equal'] : [`${a.length * 0.75} bytes`, `${b.length * 0.75} other bytes`]
}

function figuresOf(
  name: string,
  { bytes, bitsPerWeight, fallbacks }: QuantizedModel,
  { perplexity, reference }: EvaluateReport
): Record<string, Figure> {
  const { divergence, sameTop } = reference as NonNullable<EvaluateReport['reference']>
  const error = ({ error }: Estimate): string => `± ${error.toPrecision(2)}`
  const fallback = fallbacks.length === 0 ? '' : `, ${fallbacks.length} tensors of other types`
  return {
    [`${name}: perplexity`]: {
      value: perplexity.value,
      unit: '',
      note: `${error(perplexity)}; ${bytes} bytes, ${rounded(bitsPerWeight / 8)} per weight${fallback}`
    },
    [`${name}: divergence`]: {
      value: divergence.value,
      unit: 'nats',
      note:
        `${error(divergence)}; median ${rounded(divergence.median)}, 99 % ${rounded(divergence.p99)}, ` +
        `most ${rounded(divergence.max)}; same top ${rounded(100 * sameTop.value)} %`
    }
  }
}
