import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import type { KvType } from '../engine/index.ts'
import { type CertifyReport, certify, openModel } from '../models/index.ts'
import { INTERRUPTED, UsageError, untilInterrupted } from './lifetime.ts'
import { collect, integer, kvTypeOption } from './options.ts'
import { note } from './output.ts'

interface CertifyOptions {
  readonly cut?: string[]
  readonly kvType: KvType
  readonly threads: number
  readonly json?: boolean
}

export function certifyCommand(): Command {
  return new Command('certify')
    .description('Compare a model run as a chain of spans with the same model run whole, logit by logit.')
    .argument('<model>', 'a GGUF file')
    .option('--cut <blocks>', 'where stages begin, such as 8,16 (may be given several times)', collect)
    .option('--threads <count>', 'threads, the same on both sides', integer(1, 1024), 1)
    .addOption(kvTypeOption())
    .option('--json', 'print one JSON object')
    .action(run)
}

async function run(path: string, options: CertifyOptions): Promise<void> {
  const signal = untilInterrupted()
  const model = await openModel(path)
  const folder = await mkdtemp(join(tmpdir(), 'shoal-certify-'))
  try {
    const cuts = options.cut?.map((text) => parseCut(text, model.blockCount))
    const report = await certify(model, {
      ...{ folder, signal, kvType: options.kvType, threads: options.threads },
      ...(cuts === undefined ? {} : { cuts }),
      onProgress: (message) => note(message)
    })
    if (options.json) console.log(JSON.stringify(report))
    else print(report)
    if (report.cuts.some(({ bitEqual }) => !bitEqual)) process.exitCode = 1
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  } finally {
    await model.close()
    await rm(folder, { recursive: true, force: true })
  }
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
