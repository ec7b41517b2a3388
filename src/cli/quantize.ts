import { existsSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { COPY, FILE_TYPE_ALIASES, FILE_TYPES } from '../engine/index.ts'
import {
  calibrate,
  type ImportanceMatrix,
  OVERRIDE_TYPES,
  type QuantizedModel,
  quantize,
  readImportance,
  writeImportance
} from '../models/index.ts'
import { INTERRUPTED, UsageError, untilInterrupted } from './lifetime.ts'
import { integer, threadsOption } from './options.ts'
import { withPercent } from './percent.ts'

interface QuantizeCommandOptions {
  readonly type: string
  readonly imatrix?: string
  readonly calibrate?: string
  readonly saveImatrix?: string
  readonly context?: number
  readonly chunks?: number
  readonly threads: number
  readonly gpuLayers?: number
  readonly pure?: boolean
  readonly keepSplit?: boolean
  readonly requantize?: boolean
  readonly outputType?: string
  readonly embeddingType?: string
  readonly force?: boolean
  readonly json?: boolean
}

const TYPES_HELP = `
Types, of each family from the largest to the smallest:
  F32 F16 BF16
  Q8_0 Q5_1 Q5_0 Q4_1 Q4_0 Q2_0 Q1_0
  Q6_K Q5_K_M Q5_K_S Q4_K_M Q4_K_S Q3_K_L Q3_K_M Q3_K_S Q2_K Q2_K_S
  IQ4_NL IQ4_XS IQ3_M IQ3_S IQ3_XS IQ3_XXS IQ2_M IQ2_S IQ2_XS IQ2_XXS IQ1_M IQ1_S
  TQ2_0 TQ1_0 (ternary models), MXFP4_MOE (experts), COPY (all tensors as they are)
Q2_K_S, and the IQ types from IQ3_XS on, need an importance matrix.

Examples:
  shoal quantize model-f16.gguf model-q4_k_m.gguf --type Q4_K_M --calibrate text.txt
  shoal eval model-q4_k_m.gguf --reference model-f16.gguf --text other-text.txt`

export function quantizeCommand(): Command {
  return new Command('quantize')
    .description(
      'Make a model smaller: fewer bits per weight, by llama.cpp’s quantizer. With a text like those that it will be ' +
        'used for (--calibrate) the weights that matter most are kept best.'
    )
    .argument('<model>', 'a GGUF file, its first part if it has several, best in F16, BF16 or F32')
    .argument('<output>', 'the file to write')
    .requiredOption('--type <type>', 'what to quantize to: see below', fileType)
    .option('--imatrix <file>', 'an importance matrix, by this command or by llama-imatrix')
    .option('--calibrate <text>', 'compute the importance matrix from this text')
    .option('--save-imatrix <file>', 'with --calibrate: keep the importance matrix')
    .option(
      '--context <tokens>',
      'with --calibrate: tokens per chunk of the text (default: 512)',
      integer(32, 2 ** 20)
    )
    .option(
      '--chunks <count>',
      'with --calibrate: only the first so many chunks (default: all)',
      integer(1, 2 ** 31 - 1)
    )
    .option('--gpu-layers <count>', 'with --calibrate: blocks on a GPU (default: all)', integer(0, 4096))
    .addOption(threadsOption())
    .option('--pure', 'all matrices of one type: no more bits for those that need them most')
    .option('--output-type <type>', 'tensor type of the head, such as Q8_0', tensorType)
    .option('--embedding-type <type>', 'tensor type of the token embedding', tensorType)
    .option('--keep-split', 'a model of several parts stays one')
    .option('--requantize', 'take a model that is quantized already, at a loss of quality')
    .option('--force', 'replace the output if it is there')
    .option('--json', 'print one JSON object')
    .addHelpText('after', TYPES_HELP)
    .action(run)
}

function fileType(text: string): string {
  const upper = text.toUpperCase()
  const name = FILE_TYPE_ALIASES[upper] ?? upper
  if (name === COPY || FILE_TYPES[name] !== undefined) return name
  throw new InvalidArgumentError(`It must be one of ${[...Object.keys(FILE_TYPES), COPY].join(', ')}.`)
}

function tensorType(text: string): string {
  const name = text.toUpperCase()
  if (OVERRIDE_TYPES.includes(name)) return name
  throw new InvalidArgumentError(`It must be one of ${OVERRIDE_TYPES.join(', ')}.`)
}

async function run(input: string, output: string, options: QuantizeCommandOptions): Promise<void> {
  checkFlags(options)
  if (options.saveImatrix !== undefined && !options.force && existsSync(options.saveImatrix)) {
    throw new UsageError(`${options.saveImatrix} is there already: --force replaces it.`)
  }
  const signal = untilInterrupted()
  const { type, outputType, embeddingType, imatrix, saveImatrix } = options
  const { threads, pure, keepSplit, requantize, force } = options
  const hasImportance = imatrix !== undefined || options.calibrate !== undefined
  try {
    const result = await withPercent(`quantizing to ${type}`, (onProgress) =>
      quantize(input, output, {
        ...{ type, embeddingType, threads, pure, keepSplit, requantize, force, signal, onProgress },
        outputTensorType: outputType,
        importance: hasImportance ? () => importanceFor(input, options, signal) : undefined,
        importanceFile: imatrix ?? saveImatrix
      })
    )
    if (options.json) console.log(JSON.stringify(result))
    else print(result, type)
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  }
}

function checkFlags(options: QuantizeCommandOptions): void {
  if (options.imatrix !== undefined && options.calibrate !== undefined) {
    throw new UsageError('--imatrix and --calibrate are two ways to the same thing: leave one out.')
  }
  if (options.calibrate !== undefined) return
  for (const flag of ['saveImatrix', 'context', 'chunks', 'gpuLayers'] as const) {
    const name = flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    if (options[flag] !== undefined) throw new UsageError(`--${name} is for --calibrate TEXT.`)
  }
}

async function importanceFor(
  input: string,
  options: QuantizeCommandOptions,
  signal: AbortSignal
): Promise<ImportanceMatrix> {
  const {
    imatrix,
    calibrate: text = '',
    saveImatrix,
    context = 512,
    chunks,
    gpuLayers = -1,
    threads
  } = options
  if (imatrix !== undefined) return readImportance(imatrix)
  const importance = await withPercent(`calibrating with ${text}`, (onProgress) =>
    calibrate(input, text, { context, chunks, gpuLayers, threads, signal, onProgress })
  )
  if (saveImatrix !== undefined) await writeImportance(saveImatrix, importance)
  return importance
}

function print({ files, bytes, bitsPerWeight, types, fallbacks }: QuantizedModel, type: string): void {
  const counts = Object.entries(types).map(([name, count]) => `${count} × ${name}`)
  console.log(
    `${files.join(', ')}: ${(bytes / 1e6).toFixed(1)} MB, ${bitsPerWeight.toFixed(2)} bits per weight`
  )
  console.log(`tensors: ${counts.join(', ')}`)
  if (fallbacks.length === 0) return
  const changes = Object.entries(Object.groupBy(fallbacks, ({ wanted, got }) => `${got} for ${wanted}`))
  const list = changes.map(([change, tensors = []]) => `${tensors.length} × ${change}`).join(', ')
  console.log(`note: rows that are no whole blocks of what ${type} asks for: ${list}`)
}
