import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Command } from 'commander'
import { makeFolder, replaceFile, ShoalError } from '../common/index.ts'
import { splitPartNames } from '../gguf/index.ts'
import {
  isHubName,
  type ListedImportance,
  type ListedSource,
  makeListing,
  readImportance,
  resolveName
} from '../models/index.ts'
import { createHost } from '../net/index.ts'
import { dataFolder, type Library, licenceOf, type NamedModel } from '../node/index.ts'
import { type ConsumerOptions, consumerNode, findModel } from './consumer.ts'
import { INTERRUPTED, UsageError, untilInterrupted } from './lifetime.ts'
import { codecNames, collect, peerOption, storeOption } from './options.ts'
import { Progress } from './progress.ts'
import { plain } from './status.ts'

interface PublishOptions extends ConsumerOptions {
  readonly name?: string
  readonly licence?: string
  readonly source: readonly string[]
  readonly imatrix?: string
  readonly imatrixSource: readonly string[]
  readonly codecs?: readonly string[]
  readonly out?: string
  readonly json?: boolean
}

interface Published {
  readonly id: string
  readonly name: string
  readonly manifest: string
  readonly listing: string
}

export function publishCommand(): Command {
  return new Command('publish')
    .description(
      'Hash all of a model, so that others can check each piece of it, whoever it comes from. Writes FILE.manifest ' +
        'and FILE.listing (signed by this node), which belong beside the model wherever people fetch it, and prints its id.'
    )
    .argument(
      '<model>',
      'a GGUF file, its first part if it has several; hf:... or an address is fetched first'
    )
    .option('--name <name>', 'what to call it (default: as its file does)')
    .option('--licence <licence>', 'its licence, such as MIT (default: as its file says)')
    .option(
      '--source <url>',
      'where it can be had, of several parts the first (may be given several times)',
      collect,
      []
    )
    .option(
      '--imatrix <file>',
      'the importance matrix that it was quantized with: its hash is published, too'
    )
    .option('--imatrix-source <url>', 'where that can be had (may be given several times)', collect, [])
    .option('--codecs <names>', 'what "shoal certify --codecs" found good for it, such as f16,q8', codecNames)
    .option('--out <folder>', 'where to write (default: beside the file, or here)')
    .addOption(peerOption())
    .addOption(storeOption())
    .option('--data-dir <folder>', 'the folder of the node, as "shoal up" was given it', dataFolder())
    .option('--json', 'print one JSON object')
    .action(run)
}

async function run(text: string, options: PublishOptions): Promise<void> {
  resolveName(text) // before anything is started
  if (options.imatrixSource.length > 0 && options.imatrix === undefined) {
    throw new UsageError('--imatrix-source is where the file of --imatrix can be had: name that, too.')
  }
  const signal = untilInterrupted()
  const progress = new Progress(`reading ${text}`)
  try {
    const published = await publish(text, options, progress, signal)
    progress.end()
    if (options.json) console.log(JSON.stringify(published))
    else print(published)
  } catch (error) {
    progress.end()
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  }
}

async function publish(
  text: string,
  options: PublishOptions,
  progress: Progress,
  signal: AbortSignal
): Promise<Published> {
  const node = await consumerNode(options, progress.say)
  try {
    const found = await findModel(node, text, { signal, onProgress: progress.report })
    if (found.files === undefined) await node.start({ signal }) // else nobody else is needed
    progress.begin(`hashing ${text}`)
    const model = await node.library.hashed(found, { signal, onProgress: progress.report })
    return await write(node.library, model, options)
  } finally {
    await node.stop()
  }
}

async function write(library: Library, model: NamedModel, options: PublishOptions): Promise<Published> {
  const { dataDir, source: urls } = options
  const said = await library.listing(model.id)
  const name = options.name ?? model.name
  const licence = options.licence ?? licenceOf(model.manifest)
  const sources = urls.length > 0 ? urls.map((url) => sourceAt(url, model)) : (said?.sources ?? [])
  // The machine's own key, whoever fetches here.
  const signer = createHost({ identity: { keyPath: join(dataDir, 'identity.key') }, listen: [] })
  const importance = await importanceOf(model, options)
  const codecs = options.codecs ?? said?.codecs ?? []
  const fields = { model: model.id, name, licence, sources, codecs, importance }
  const listing = await makeListing(fields, signer)
  await (await library.store).add(model.manifest, listing)
  const path = options.out === undefined ? model.files?.[0] : undefined
  const base = path ?? join(options.out ?? '.', fileOf(model, sources))
  if (options.out !== undefined) makeFolder(options.out)
  const files = { manifest: `${base}.manifest`, listing: `${base}.listing` }
  await replaceFile(files.manifest, model.manifest.bytes)
  await replaceFile(files.listing, listing)
  return { id: model.id, name, ...files }
}

/** Throws a ShoalError IMPORTANCE for a file that is no matrix of the model's. */
async function importanceOf(
  { manifest }: NamedModel,
  { imatrix, imatrixSource: urls }: PublishOptions
): Promise<ListedImportance | undefined> {
  if (imatrix === undefined) return undefined
  const { entries } = await readImportance(imatrix)
  const tensors = new Set(manifest.items.map(({ name }) => name))
  const other = entries.find(({ name }) => !tensors.has(name))
  if (other !== undefined) {
    const message = `${imatrix} is of another model: it weighs ${other.name}, which this one does not have.`
    throw new ShoalError('IMPORTANCE', message)
  }
  const bytes = await readFile(imatrix)
  return { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.byteLength, urls }
}

/** All parts, by the address of the first. */
function sourceAt(url: string, { files, gguf, manifest }: NamedModel): ListedSource {
  if (isHubName(url)) return { parts: [{ url, bytes: manifest.byteLength }] }
  const address = URL.parse(url)
  if (address === null)
    throw new ShoalError('NAME', `--source ${url}: it must be an address, or hf:user/repo/file.gguf.`)
  const names = splitPartNames(address.pathname)
  const sizes = files === undefined ? [] : gguf.sources.map(({ size }) => size)
  if (names.length > 1 && names.length !== sizes.length) {
    throw new ShoalError('NAME', `--source ${url} has ${names.length} parts, the model here ${sizes.length}.`)
  }
  const parts = names.map((pathname, index) => {
    const part = new URL(address)
    part.pathname = pathname
    return { url: part.href, bytes: sizes[index] ?? manifest.byteLength }
  })
  return { parts }
}

/** As its first file is called where it comes from. */
function fileOf({ files, name }: NamedModel, sources: readonly ListedSource[]): string {
  const url = URL.parse(sources[0]?.parts[0]?.url ?? '')
  const file = files?.[0] ?? decodeURIComponent(url?.pathname ?? '')
  return basename(file) || `${name.replace(/[^\w.-]+/g, '-')}.gguf`
}

function print({ id, name, manifest, listing }: Published): void {
  console.log(`${plain(name)} is the model ${id}`)
  console.log(`wrote ${manifest} and ${listing}`)
  console.log('"shoal seed" gives it to others, who fetch it with "shoal pull ID".')
}
