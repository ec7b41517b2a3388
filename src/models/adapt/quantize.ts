/** Quantizing a model's file into another one, by llama.cpp. */
import { mkdtemp, open, readdir, realpath, rename, rm, stat, statfs } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ShoalError } from '../../common/index.ts'
import {
  COPY,
  type EngineError,
  FILE_TYPES,
  type ImportanceWeights,
  type QuantizeReport,
  type QuantizeSettings,
  quantizeFile
} from '../../engine/index.ts'
import { type GgufModel, splitPartNames, TENSOR_TYPES } from '../../gguf/index.ts'
import { readHeader } from './header.ts'
import { type ImportanceMatrix, importanceWeights } from './importance.ts'

export interface QuantizeOptions {
  /** A name of FILE_TYPES, or COPY: all tensors as they are. */
  readonly type: string
  /** Asked for once all else is known to be right: it may take long. */
  readonly importance?: (() => Promise<ImportanceMatrix>) | undefined
  /** The name of the importance matrix's file, for the model's metadata. */
  readonly importanceFile?: string | undefined
  readonly threads: number
  /** All matrices of one type. */
  readonly pure?: boolean | undefined
  /** A model of several parts stays one. */
  readonly keepSplit?: boolean | undefined
  /** Take a model that is quantized already. */
  readonly requantize?: boolean | undefined
  /** Tensor types (of OVERRIDE_TYPES) for the head and the embedding. */
  readonly outputTensorType?: string | undefined
  readonly embeddingType?: string | undefined
  /** Replace what is there. */
  readonly force?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((fraction: number) => void) | undefined
}

export interface QuantizedModel extends QuantizeReport {
  readonly files: readonly string[]
  /** Of all files. */
  readonly bytes: number
  readonly weights: number
  /** Of the tensors, without metadata. */
  readonly bitsPerWeight: number
  /** How many tensors there are of each type. */
  readonly types: Readonly<Record<string, number>>
}

/** Those are stored only; the last three need an importance matrix, which no embedding or head has. */
const NOT_FOR_OVERRIDES = 'I8 I16 I32 I64 F64 Q8_1 Q8_K IQ2_XXS IQ2_XS IQ1_S'.split(' ')
export const OVERRIDE_TYPES = Object.keys(TENSOR_TYPES).filter((name) => !NOT_FOR_OVERRIDES.includes(name))

/**
 * Writes `output` under another name first, and puts it in its place when it is complete: whatever happens, nothing
 * incomplete is left. Throws a ShoalError that says what to do.
 */
export async function quantize(
  input: string,
  output: string,
  options: QuantizeOptions
): Promise<QuantizedModel> {
  const { files, gguf } = await readHeader(input)
  const [first] = files as [string]
  checkOverrides(gguf, options)
  const keepSplit = options.keepSplit === true && files.length > 1
  const names = namesOf(basename(output), keepSplit ? files.length : 1)
  const targets = names.map((name) => join(dirname(output), name))
  await checkTargets(targets, files, options.force === true)
  const folder = await temporaryFolder(output)
  try {
    const written = join(folder, keepSplit ? basename(output, '.gguf') : (names[0] as string))
    const importance = await options.importance?.()
    const settings = settingsOf(first, written, keepSplit, options)
    const weights = importance && weightsOf(importance, options.importanceFile)
    const report = await quantizeFile(settings, weights, options).catch((error: EngineError) =>
      explain(error, folder, options)
    )
    const partials = names.map((name) => join(folder, name))
    const result = await describeResult(partials[0] as string)
    options.signal?.throwIfAborted()
    for (const path of partials) await flush(path)
    await checkTargets(targets, files, options.force === true)
    for (const [index, path] of partials.entries()) await rename(path, targets[index] as string)
    return { files: targets, ...result, ...report }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** With the notes that llama-quantize makes, but without folders, which are nobody's business. */
function weightsOf(importance: ImportanceMatrix, file: string | undefined): ImportanceWeights {
  const { datasets, chunks } = importance
  const entries = importance.entries.map((entry) => ({ name: entry.name, weights: importanceWeights(entry) }))
  const notes: [string, string | number][] = []
  if (file !== undefined) notes.push(['quantize.imatrix.file', basename(file)])
  if (datasets[0] !== undefined) notes.push(['quantize.imatrix.dataset', basename(datasets[0])])
  notes.push(['quantize.imatrix.entries_count', entries.length])
  if (chunks > 0) notes.push(['quantize.imatrix.chunks_count', chunks])
  return { entries, notes }
}

function settingsOf(
  input: string,
  output: string,
  keepSplit: boolean,
  { type, threads, pure = false, requantize = false, outputTensorType, embeddingType }: QuantizeOptions
): QuantizeSettings {
  const idOf = (name = ''): number | undefined => TENSOR_TYPES[name]?.id
  return {
    ...{ input, output, keepSplit, threads, pure, requantize },
    type: FILE_TYPES[type] ?? 0,
    copy: type === COPY,
    outputTensorType: idOf(outputTensorType),
    embeddingType: idOf(embeddingType)
  }
}

/** llama.cpp ends its process where a row has no whole blocks. */
function checkOverrides({ tensors }: GgufModel, options: QuantizeOptions): void {
  if (options.type !== COPY && FILE_TYPES[options.type] === undefined) {
    throw new ShoalError('QUANTIZE', `There is no type ${options.type}.`)
  }
  const overrides = [
    ['output.weight', options.outputTensorType],
    ['token_embd.weight', options.embeddingType]
  ] as const
  for (const [name, type] of overrides) {
    if (type === undefined) continue
    if (!OVERRIDE_TYPES.includes(type)) throw new ShoalError('QUANTIZE', `${name} can't be of type ${type}.`)
    const columns = tensors.get(name)?.dims[0] ?? 0
    const { blockSize = 1 } = TENSOR_TYPES[type] ?? {}
    if (columns % blockSize !== 0) {
      throw new ShoalError(
        'QUANTIZE',
        `${name} has rows of ${columns} weights, which are no whole blocks of ${blockSize}: it can't be ${type}.`
      )
    }
  }
}

function namesOf(name: string, parts: number): string[] {
  if (parts === 1) return [name]
  const last = String(parts).padStart(5, '0')
  return splitPartNames(`${basename(name, '.gguf')}-00001-of-${last}.gguf`)
}

async function checkTargets(
  targets: readonly string[],
  inputs: readonly string[],
  force: boolean
): Promise<void> {
  const sources = await Promise.all(inputs.map((path) => realpath(path)))
  for (const target of targets) {
    const existing = await realpath(target).catch(() => undefined)
    if (existing === undefined) continue
    if (sources.includes(existing)) {
      throw new ShoalError('QUANTIZE', `${target} is the model itself: give the result another name.`)
    }
    if (!force) throw new ShoalError('QUANTIZE', `${target} is there already: --force replaces it.`)
  }
}

/** Beside the output, so that its place is taken by renaming. */
async function temporaryFolder(output: string): Promise<string> {
  try {
    return await mkdtemp(join(dirname(output), `.${basename(output)}.partial-`))
  } catch (cause) {
    const { message } = cause as Error
    throw new ShoalError('QUANTIZE', `Nothing can be written to ${dirname(output)}: ${message}.`, { cause })
  }
}

async function describeResult(
  path: string
): Promise<Pick<QuantizedModel, 'bytes' | 'weights' | 'bitsPerWeight' | 'types'>> {
  const { files, gguf } = await readHeader(path)
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size))
  const types: Record<string, number> = {}
  let weights = 0
  let tensorBytes = 0
  for (const { type, dims, byteLength } of gguf.tensors.values()) {
    types[type] = (types[type] ?? 0) + 1
    weights += dims.reduce((product, dim) => product * dim, 1)
    tensorBytes += byteLength
  }
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  return { bytes, weights, bitsPerWeight: (tensorBytes * 8) / weights, types }
}

async function flush(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  await file.sync()
}

/** Says what to do about what llama.cpp says. */
async function explain(
  error: EngineError,
  folder: string,
  { type, importance }: QuantizeOptions
): Promise<never> {
  const { message } = error
  const failed = (text: string): ShoalError => new ShoalError('QUANTIZE', text, { cause: error })
  if (error.code === 'ABORTED') throw error
  if (/requires an imatrix|Missing importance matrix/.test(message)) {
    const what = importance === undefined ? 'needs one' : 'needs one that covers all blocks'
    throw failed(
      `Without an importance matrix ${type} would be garbage; it ${what}: --imatrix FILE or --calibrate TEXT.`
    )
  }
  if (message.includes('GGML_ASSERT(imatrix')) {
    throw failed(
      `With --pure the embedding would be ${type}, too, of which no importance matrix says anything: add ` +
        '--embedding-type Q4_K, or leave --pure out.'
    )
  }
  const quantized = /requantizing from type (\S+) is disabled/.exec(message)?.[1]
  if (quantized !== undefined) {
    throw failed(
      `The model is quantized already (${quantized.toUpperCase()}): quantize the one that it was made from, or add ` +
        '--requantize, which costs more quality.'
    )
  }
  if (/^imatrix size/.test(message)) throw failed(`The importance matrix is of another model (${message}).`)
  if (/iostream|basic_ios|write/.test(message)) {
    const { bavail, bsize } = await statfs(folder)
    const free = ((bavail * bsize) / 1e6).toFixed(0)
    const written = await sizeOf(folder)
    throw failed(
      `The result can't be written: after ${(written / 1e6).toFixed(0)} MB there were ${free} MB left on the disk.`
    )
  }
  throw failed(`llama.cpp can't quantize this model: ${message}.`)
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder)
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}
