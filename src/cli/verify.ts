import { Command } from 'commander'
import type { Store, VerifyOptions, VerifyReport } from '../models/index.ts'
import { dataFolder, type Library, type StoredEntry, storedModel, storedModels } from '../node/index.ts'
import { type ConsumerOptions, withLibrary } from './consumer.ts'
import { INTERRUPTED, untilInterrupted } from './lifetime.ts'
import { storeOption } from './options.ts'
import { note } from './output.ts'
import { Progress } from './progress.ts'
import { count, plain } from './status.ts'
import { size } from './units.ts'

interface VerifyCommandOptions extends ConsumerOptions {
  readonly json?: boolean
}

interface Verified {
  readonly id: string
  readonly name: string
  /** Read and hashed. */
  readonly bytes: number
  /** Pieces that were damaged or gone: to be fetched again. */
  readonly bad: readonly number[]
  /** Why it can't be verified at all. */
  readonly error?: string
  /** Without hashes nobody can tell good bytes from bad ones. */
  readonly hashed: boolean
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description(
      'Read and hash what is in the store, a model or all of them. What is damaged is forgotten, and fetched again ' +
        'when it is needed. Exits with 1 where something was.'
    )
    .argument('[model]', 'as "shoal list" calls it, or the first digits of its id (default: all)')
    .addOption(storeOption())
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print a JSON array')
    .action(run)
}

async function run(name: string | undefined, options: VerifyCommandOptions): Promise<void> {
  const signal = untilInterrupted()
  const progress = new Progress('verifying')
  try {
    const verified = await withLibrary(options, (library) => verifyAll(library, name, progress, signal))
    progress.end()
    if (options.json) console.log(JSON.stringify(verified))
    else for (const model of verified) console.log(inWords(model))
    if (verified.some(({ bad, error }) => bad.length > 0 || error !== undefined)) process.exitCode = 1
    if (verified.length === 0 && !options.json) note('Nothing is in the store.')
  } catch (error) {
    progress.end()
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  }
}

async function verifyAll(
  library: Library,
  name: string | undefined,
  progress: Progress,
  signal: AbortSignal
): Promise<Verified[]> {
  const store = await library.store
  const onProgress: VerifyOptions['onProgress'] = ({ bytes, total }) =>
    progress.report({ bytes, totalBytes: total })
  const known = new Map((await storedModels(library)).map((entry) => [entry.id, entry]))
  const reports = await reportsOf(store, name && (await storedModel(library, name)).id, {
    signal,
    onProgress
  })
  return [...reports].map(([id, report]) => verifiedOf(id, known.get(id), report))
}

async function reportsOf(
  store: Store,
  id: string | undefined,
  options: VerifyOptions
): Promise<ReadonlyMap<string, VerifyReport | Error>> {
  if (id === undefined) return store.fsck(options)
  return new Map([[id, await store.verify(id, options)]])
}

function verifiedOf(id: string, entry: StoredEntry | undefined, report: VerifyReport | Error): Verified {
  const named = { id, name: entry?.called ?? id, hashed: entry?.isHashed ?? false }
  if (report instanceof Error) return { ...named, bytes: 0, bad: [], error: report.message }
  return { ...named, bytes: report.bytes, bad: report.bad }
}

function inWords({ id, name, bytes, bad, error, hashed }: Verified): string {
  const called = plain(name)
  if (error !== undefined) return `${called}: BAD. ${error} "shoal rm ${id} --yes" removes it.`
  if (bad.length > 0) {
    return `${called}: BAD, ${count(bad.length, 'piece')} damaged: "shoal pull ${called}" fetches them again.`
  }
  if (!hashed) return `${called}: nobody has hashed it, so that nothing can be compared.`
  return `${called}: good, ${size(bytes)} read.`
}
