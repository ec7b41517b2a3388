import { Command } from 'commander'
import { type Estimate, type EvaluateReport, evaluate } from '../models/index.ts'
import { INTERRUPTED, untilInterrupted } from './lifetime.ts'
import { integer, threadsOption } from './options.ts'
import { withPercent } from './percent.ts'

interface EvalOptions {
  readonly text: string
  readonly reference?: string
  readonly context: number
  readonly chunks?: number
  readonly threads: number
  readonly gpuLayers?: number
  readonly json?: boolean
}

export function evalCommand(): Command {
  return new Command('eval')
    .description(
      'Measure how well a model foretells a text (perplexity, as llama-perplexity does), and how far it is from a ' +
        'reference, such as the model that it was quantized from. Lower is better.'
    )
    .argument('<model>', 'a GGUF file, its first part if it has several')
    .requiredOption('--text <file>', 'a text that the model was not trained on, of two chunks at least')
    .option('--reference <model>', 'compare each prediction with this model of the same vocabulary')
    .option(
      '--context <tokens>',
      'tokens per chunk; the second half of each is foretold',
      integer(8, 2 ** 20),
      512
    )
    .option('--chunks <count>', 'only the first so many chunks (default: all)', integer(1, 2 ** 31 - 1))
    .addOption(threadsOption())
    .option('--gpu-layers <count>', 'blocks on a GPU (default: all, if there is one)', integer(0, 4096))
    .option('--json', 'print one JSON object')
    .action(run)
}

async function run(path: string, options: EvalOptions): Promise<void> {
  const { json, text, gpuLayers = -1, ...rest } = options
  const signal = untilInterrupted()
  try {
    const report = await withPercent(`evaluating with ${text}`, (onProgress) =>
      evaluate(path, text, { ...rest, gpuLayers, signal, onProgress })
    )
    if (json) console.log(JSON.stringify(report))
    else print(report)
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  }
}

function print({ tokens, chunks, scored, perplexity, reference }: EvaluateReport): void {
  const rows = [['perplexity', plusMinus(perplexity, 4)]]
  if (reference !== undefined) {
    const { divergence, sameTop, probabilityDelta } = reference
    rows.push(
      ['perplexity of the reference', plusMinus(reference.perplexity, 4)],
      ['KL divergence, mean', plusMinus(divergence, 6)],
      ['KL divergence, median', divergence.median.toFixed(6)],
      ['KL divergence, 99 %', divergence.p99.toFixed(6)],
      ['KL divergence, largest', divergence.max.toFixed(6)],
      ['same likeliest token', `${plusMinus(percentOf(sameTop), 3)} %`],
      ["right token's probability, mean change", `${plusMinus(percentOf(probabilityDelta), 3)} %`]
    )
  }
  const width = Math.max(...rows.map(([name = '']) => name.length))
  for (const [name = '', value] of rows) console.log(`${name.padEnd(width)}  ${value}`)
  console.log(`${scored} tokens foretold, in ${chunks} chunks of a text of ${tokens} tokens`)
}

function percentOf({ value, error }: Estimate): Estimate {
  return { value: 100 * value, error: 100 * error }
}

function plusMinus({ value, error }: Estimate, digits: number): string {
  return `${value.toFixed(digits)} ± ${error.toFixed(digits)}`
}
