import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import type { KvType } from '../engine/index.ts'
import {
  type CertifyReport,
  type CodecReport,
  type CodecsReport,
  certify,
  certifyCodecs,
  type ModelFile,
  openModel
} from '../models/index.ts'
import { INTERRUPTED, UsageError, untilInterrupted } from './lifetime.ts'
import { collect, integer, kvTypeOption } from './options.ts'
import { note } from './output.ts'

interface CertifyOptions {
  readonly cut?: string[]
  readonly codecs?: boolean
  readonly text?: string
  readonly chunks: number
  readonly kvType: KvType
  readonly threads: number
  readonly json?: boolean
}

export function certifyCommand(): Command {
  return new Command('certify')
    .description(
      'Compare a model run as a chain of spans with the same model run whole, logit by logit. With --codecs: what it ' +
        'costs its predictions when hidden states travel in fewer bytes.'
    )
    .argument('<model>', 'a GGUF file')
    .option('--cut <blocks>', 'where stages begin, such as 8,16 (may be given several times)', collect)
    .option('--codecs', 'compare codecs of hidden states with f32, over a text')
    .option('--text <file>', 'with --codecs: a text like those that the model is asked about')
    .option('--chunks <count>', 'with --codecs: so many chunks of 512 tokens', integer(1, 100_000), 16)
    .option('--threads <count>', 'threads, the same on both sides', integer(1, 1024), 1)
    .addOption(kvTypeOption())
    .option('--json', 'print one JSON object')
    .action(run)
}

async function run(path: string, options: CertifyOptions): Promise<void> {
  if (options.codecs && options.text === undefined) {
    throw new UsageError('--codecs takes --text FILE: a text like those that the model is asked about.')
  }
  const signal = untilInterrupted()
  const model = await openModel(path)
  const folder = await mkdtemp(join(tmpdir(), 'shoal-certify-'))
  try {
    if (options.codecs) await compareCodecs(model, folder, options, signal)
    else await compareSpans(model, folder, options, signal)
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  } finally {
    await model.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function compareSpans(
  model: ModelFile,
  folder: string,
  { cut, kvType, threads, json }: CertifyOptions,
  signal: AbortSignal
): Promise<void> {
  const cuts = cut?.map((text) => parseCut(text, model.blockCount))
  const report = await certify(model, {
    ...{ folder, signal, kvType, threads, onProgress: note },
    ...(cuts === undefined ? {} : { cuts })
  })
  if (json) console.log(JSON.stringify(report))
  else print(report)
  if (report.cuts.some(({ bitEqual }) => !bitEqual)) process.exitCode = 1
}

async function compareCodecs(
  model: ModelFile,
  folder: string,
  { text = '', chunks, kvType, threads, json }: CertifyOptions,
  signal: AbortSignal
): Promise<void> {
  const report = await certifyCodecs(model, {
    ...{ folder, signal, text, chunks, kvType, threads, onProgress: note }
  })
  if (json) console.log(JSON.stringify(report))
  else printCodecs(report)
}

function parseCut(text: string, blockCount: number): number[] {
  const cut = text.split(',').map(Number)
  const isRising = cut.every(
    (at, index) => Number.isInteger(at) && at > (cut[index - 1] ?? 0) && at < blockCount
  )
  if (!isRising)
    throw new UsageError(
      `--cut ${text}: it must be rising block numbers from 1 to ${blockCount - 1}, such as 2,4.`
    )
  return cut
}

function print({ model, architecture, blockCount, slidingWindow, windowWrapped, cuts }: CertifyReport): void {
  console.log(`${model}: ${architecture}, ${blockCount} blocks`)
  for (const { cut, largestDifference, bitEqual, rows } of cuts) {
    const verdict = bitEqual ? 'bit-equal' : `differs by up to ${largestDifference.toExponential(2)}`
    console.log(`cut at ${cut.join(', ')}: ${verdict} (${rows} rows of logits)`)
  }
  if (slidingWindow > 0 && !windowWrapped) {
    console.log(`Its window of ${slidingWindow} positions was not outgrown: longer texts were not compared.`)
  }
}

function printCodecs({ model, cuts, scored, perplexity, largest, codecs }: CodecsReport): void {
  console.log(
    `${model}, cut at ${cuts.join(', ')}: ${scored} tokens, perplexity ${perplexity.toFixed(4)} in f32,`
  )
  console.log(`numbers up to ${largest.toPrecision(4)}`)
  for (const report of codecs) console.log(`${report.codec.padEnd(5)} ${inWords(report)}`)
  const certified = codecs.filter((report) => report.certified).map(({ codec }) => codec)
  if (certified.length === 0) return
  console.log(`"shoal publish --codecs ${certified.join(',')}" says so to others.`)
}

function inWords({ certified, costs }: CodecReport): string {
  if (costs === undefined) return 'not certified: it cannot hold these numbers'
  const { divergence, sameTop, perplexityRatio } = costs
  const figures = [
    `divergence ${divergence.value.toFixed(6)} (99 % ${divergence.p99.toFixed(6)}, largest ${divergence.max.toFixed(6)})`,
    `same likeliest token ${(100 * sameTop).toFixed(2)} %`,
    `perplexity × ${perplexityRatio.toFixed(5)}`
  ]
  return `${certified ? 'certified' : 'not certified'}: ${figures.join(', ')}`
}
