import { Command } from 'commander'
import { type PartName, resolveName } from '../models/index.ts'
import { dataFolder, type FetchOptions, type NamedModel, partsWanted } from '../node/index.ts'
import { consumerNode, findModel } from './consumer.ts'
import { INTERRUPTED, untilInterrupted } from './lifetime.ts'
import { blocks, peerOption, storeOption } from './options.ts'
import { note } from './output.ts'
import { Progress } from './progress.ts'
import { size } from './units.ts'

interface PullOptions {
  readonly blocks?: { readonly start: number; readonly end: number }
  readonly peer: readonly string[]
  readonly store?: string
  readonly dataDir: string
  readonly json?: boolean
}

/** Of a line of 80 columns: the rest is for how far it is. */
const MOST_NAME = 28

/** What `--json` prints. */
interface PullReport {
  readonly id: string
  readonly name: string
  /** Of all that was asked for. */
  readonly bytes: number
  /** Bytes that came now, by who gave them. */
  readonly fetched: Fetched
  readonly seconds: number
}

interface Fetched {
  readonly peer: number
  readonly http: number
  readonly file: number
}

export function pullCommand(): Command {
  return new Command('pull')
    .description(
      'Fetch a model into the store, from peers and from its source at once. What has come stays, whatever happens: ' +
        'the same command goes on from there.'
    )
    .argument(
      '<model>',
      'llama3.2:1b, hf:user/repo:QUANT, the address or path of a GGUF, or an id; see docs/MODELS.md'
    )
    .option('--blocks <start-end>', 'only what it takes to host these blocks, END not included', blocks)
    .addOption(peerOption())
    .addOption(storeOption())
    .option('--data-dir <folder>', 'where it is kept what this machine has joined', dataFolder())
    .option('--json', 'print one JSON object when it is there')
    .action(run)
}

async function run(name: string, options: PullOptions): Promise<void> {
  resolveName(name) // before anything is started
  const signal = untilInterrupted()
  const progress = new Progress(`looking for ${name}`)
  try {
    const report = await pull(name, options, progress, signal)
    progress.end()
    console.log(options.json ? JSON.stringify(report) : inWords(report))
  } catch (error) {
    progress.end()
    if (!signal.aborted) throw error
    note('What has come is kept: the same command goes on from there.')
    process.exitCode = INTERRUPTED
  }
}

async function pull(
  name: string,
  options: PullOptions,
  progress: Progress,
  signal: AbortSignal
): Promise<PullReport> {
  const start = performance.now()
  const node = await consumerNode(options, progress.say)
  try {
    const model = await findModel(node, name, { signal, onProgress: progress.report })
    const parts = partsWanted(model, options.blocks)
    if (model.files === undefined) await node.start({ signal }) // else nobody else is needed
    progress.begin(`pulling ${model.name.slice(0, MOST_NAME)}`)
    let fetched: Fetched = { peer: 0, http: 0, file: 0 }
    const onProgress: FetchOptions['onProgress'] = (step) => {
      fetched = step.fetched ?? fetched
      progress.report(step)
    }
    await node.library.fetch(model, parts, { signal, onProgress })
    return reportOf(model, parts, fetched, performance.now() - start)
  } finally {
    await node.stop()
  }
}

function reportOf(
  { manifest, id, name }: NamedModel,
  parts: ReadonlySet<PartName>,
  fetched: Fetched,
  ms: number
): PullReport {
  const wanted = manifest.items.filter(({ part }) => parts.has(part))
  const bytes = wanted.reduce((sum, { byteLength }) => sum + byteLength, 0)
  return { id, name, bytes, fetched, seconds: Math.round(ms) / 1000 }
}

function inWords({ id, name, bytes, fetched: { peer, http, file }, seconds }: PullReport): string {
  const what = `${name} (${id.slice(0, 12)}), ${size(bytes)}`
  if (peer + http + file === 0) return `${what}: it is here already.`
  const from = [
    ...(peer > 0 ? [`${size(peer)} from peers`] : []),
    ...(http > 0 ? [`${size(http)} from its source`] : []),
    ...(file > 0 ? [`${size(file)} from its file`] : [])
  ]
  return `${what}: fetched ${from.join(' and ')} in ${seconds.toFixed(1)} s.`
}
