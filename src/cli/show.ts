import { Command } from 'commander'
import { UnsupportedModelError } from '../gguf/index.ts'
import {
  type CatalogueName,
  checkSpans,
  type ListedImportance,
  type Listing,
  type Manifest,
  memoryNeeded,
  memoryOf,
  resolveName
} from '../models/index.ts'
import {
  dataFolder,
  type Library,
  licenceOf,
  type NamedModel,
  storedModel,
  storedModels
} from '../node/index.ts'
import { type ConsumerOptions, consumerNode, findModel, withLibrary } from './consumer.ts'
import { untilInterrupted } from './lifetime.ts'
import { peerOption, storeOption } from './options.ts'
import { Progress } from './progress.ts'
import { plain } from './status.ts'
import { ranges, size, table } from './units.ts'

interface ShowOptions extends ConsumerOptions {
  readonly json?: boolean
}

/** For a conversation of some length, as f16. */
const POSITIONS = 4_096
/** The engine's own; see the catalogue. */
const ENGINE_BYTES = 256 * 1024 * 1024

/** What can be said of a model. In `--json` as it is. */
interface Facts {
  readonly name: string
  readonly id?: string
  /** The catalogue's words, before anything of the model was looked at. */
  readonly from: 'catalogue' | 'manifest'
  readonly architecture: string
  readonly parameters: number
  readonly blocks: number
  readonly context?: number
  /** Of all of it. */
  readonly bytes: number
  readonly parts?: Readonly<Record<string, number>>
  /** Bytes of the tensors, by their types. */
  readonly types?: Readonly<Record<string, number>>
  readonly tokenizer: string
  readonly licence: string
  readonly sources: readonly string[]
  /** The node that has signed what is listed of it. */
  readonly publisher?: string
  /** The matrix that it was quantized with. */
  readonly importance?: ListedImportance
  readonly hashed?: boolean
  /** Bytes, for all of it. */
  readonly memory: number
  /** Whether Shoal can cut it into blocks; if not, why. */
  readonly splits: boolean
  readonly refusal?: string
  readonly here?: { readonly bytes: number; readonly blocks: readonly number[] }
}

export function showCommand(): Command {
  return new Command('show')
    .description('What a model is: its size, blocks, quantization, licence, sources, and what it needs.')
    .argument('<model>', 'a model in the store, or any other; of a name in the catalogue nobody is asked')
    .addOption(peerOption())
    .addOption(storeOption())
    .option('--data-dir <folder>', 'where it is kept what this machine has joined', dataFolder())
    .option('--json', 'print one JSON object')
    .action(async (name: string, options: ShowOptions) => {
      const facts = await factsOf(name, options)
      if (options.json) console.log(JSON.stringify(facts))
      else for (const line of table(rowsOf(facts))) console.log(line)
    })
}

async function factsOf(text: string, options: ShowOptions): Promise<Facts> {
  const stored = await withLibrary(options, (library) => factsHere(library, text))
  if (stored !== undefined) return stored
  const name = resolveName(text)
  if (name.kind === 'catalogue' && 'hub' in name.from) return catalogued(name)
  const signal = untilInterrupted()
  const progress = new Progress(`reading ${text}`)
  const node = await consumerNode(options, progress.say)
  try {
    const model = await findModel(node, text, { signal, onProgress: progress.report })
    const facts = manifestFacts(model, model.called, await node.library.listing(model.id))
    const here = (await storedModels(node.library)).find(({ id }) => id === model.id)
    return here === undefined ? facts : { ...facts, here: { bytes: here.bytesThere, blocks: here.blocks } }
  } finally {
    progress.end()
    await node.stop()
  }
}

/** Undefined where it is not in the store. */
async function factsHere(library: Library, text: string): Promise<Facts | undefined> {
  const entry = await storedModel(library, text).catch(() => undefined)
  if (entry === undefined) return undefined
  const { id, called, listing, bytesThere, blocks } = entry
  const model = await library.find(id)
  return { ...manifestFacts(model, called, listing), here: { bytes: bytesThere, blocks } }
}

function catalogued({ name, size: model, quant, from }: CatalogueName): Facts {
  const { architecture, parameters, blocks, context, quants, tokenizer, licence, splits } = model
  return {
    ...{ name, from: 'catalogue', architecture, parameters, blocks, context, tokenizer, licence, splits },
    ...{ bytes: quants[quant] ?? 0, memory: memoryNeeded(model, quant) },
    sources: 'hub' in from ? [`hf:${from.hub.repository}:${quant}`] : []
  }
}

function manifestFacts(model: NamedModel, called: string, listing: Listing | undefined): Facts {
  const { id, manifest, architecture, blockCount } = model
  const context = manifest.metadata.get(`${architecture}.context_length`)?.value
  const tensors = manifest.items.flatMap(({ tensor, byteLength }) =>
    tensor ? [{ ...tensor, byteLength }] : []
  )
  const refusal = refusalOf(model)
  return {
    ...{ name: called, id, from: 'manifest', architecture, blocks: blockCount, bytes: manifest.byteLength },
    parameters: tensors.reduce((sum, { dims }) => sum + dims.reduce((product, dim) => product * dim, 1), 0),
    ...(typeof context === 'number' ? { context } : {}),
    parts: sums(manifest.items, ({ part }) => part),
    types: sums(tensors, ({ type }) => type),
    tokenizer: manifest.tokenizer,
    licence: listing?.licence || licenceOf(manifest),
    sources: listing?.sources.map(({ parts }) => parts[0]?.url ?? '') ?? [],
    ...(listing?.publisher === undefined ? {} : { publisher: listing.publisher }),
    ...(listing?.importance === undefined ? {} : { importance: listing.importance }),
    hashed: manifest.pieces !== undefined,
    memory: memory(model),
    splits: refusal === undefined,
    ...(refusal === undefined ? {} : { refusal })
  }
}

function sums<T extends Pick<Manifest['items'][number], 'byteLength'>>(
  all: readonly T[],
  by: (item: T) => string
): Record<string, number> {
  const found: Record<string, number> = {}
  for (const item of all) found[by(item)] = (found[by(item)] ?? 0) + item.byteLength
  return found
}

function memory(model: NamedModel): number {
  const { positionBytes } = memoryOf(model, 'f16')
  return (
    model.manifest.byteLength + POSITIONS * positionBytes.reduce((sum, each) => sum + each, 0) + ENGINE_BYTES
  )
}

function refusalOf(model: NamedModel): string | undefined {
  try {
    checkSpans(model)
    return undefined
  } catch (error) {
    if (error instanceof UnsupportedModelError) return error.message
    throw error
  }
}

function rowsOf(facts: Facts): string[][] {
  const { parts, types, here, hashed, context, publisher, importance, id } = facts
  const rows = [
    ['name', facts.name],
    ...(id === undefined ? [] : [['id', id]]),
    ['architecture', facts.architecture],
    ['parameters', people(facts.parameters)],
    ['blocks', String(facts.blocks)],
    ...(context === undefined ? [] : [['context', `${context} positions`]]),
    ['size', size(facts.bytes) + (facts.from === 'catalogue' ? ', roughly' : '')],
    ...(parts === undefined ? [] : partRows(parts)),
    ...(types === undefined
      ? []
      : [
          [
            'types',
            Object.entries(types)
              .map(([type, bytes]) => `${type} ${size(bytes)}`)
              .join(', ')
          ]
        ]),
    ['memory', `${size(facts.memory)} for all of it, with ${POSITIONS} positions`],
    ['tokenizer', facts.tokenizer],
    ['licence', facts.licence || 'nobody says'],
    ...facts.sources.map((source) => ['source', source]),
    ...(publisher === undefined ? [] : [['publisher', publisher]]),
    ...(importance === undefined ? [] : [['importance matrix', importanceText(importance)]]),
    [
      'splits',
      facts.splits ? 'yes: several machines can host it together' : `no: ${facts.refusal ?? 'not certified'}`
    ],
    ...(hashed === false ? [['hashed', 'no: only its source can give it, not peers']] : []),
    ['here', here === undefined ? 'nothing' : hereInWords(here, facts)]
  ]
  return rows.map((row) => row.map(plain))
}

function hereInWords({ bytes, blocks }: NonNullable<Facts['here']>, facts: Facts): string {
  return bytes === facts.bytes ? 'all' : `${size(bytes)}, blocks ${ranges(blocks) || 'none'}`
}

/** Blocks of one size are one row. */
function partRows(parts: Readonly<Record<string, number>>): string[][] {
  const sizes = Object.entries(parts)
  const ofBlocks = sizes.flatMap(([name, bytes]) => (name.startsWith('block-') ? [bytes] : []))
  const [least, most] = [Math.min(...ofBlocks), Math.max(...ofBlocks)]
  const each = least === most ? size(least) : `${size(least)} to ${size(most)}`
  const others = sizes.filter(([name]) => !name.startsWith('block-'))
  return [...others.map(([name, bytes]) => [`  ${name}`, size(bytes)]), ['  each block', each]]
}

/** 1.24 billion. */
function people(count: number): string {
  const [value, word] =
    count >= 1e9 ? [count / 1e9, ' billion'] : count >= 1e6 ? [count / 1e6, ' million'] : [count, '']
  return `${word === '' ? value : value.toPrecision(3)}${word}`
}

function importanceText({ sha256, bytes, urls }: ListedImportance): string {
  return [`sha256 ${sha256}, ${size(bytes)}`, ...urls].join(', ')
}
