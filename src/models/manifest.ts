/**
 * What a model is: its metadata, its tensors, and the hash of each piece of them. The hash of the manifest is the
 * model's id, so whoever has the id can check everything else, whoever it comes from. Where the bytes are found, under
 * which licence, and who says so is not part of it: see listing.ts.
 */
import { createHash } from 'node:crypto'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ShoalError } from '../common/index.ts'
import {
  fingerprint,
  type GgufModel,
  type Metadata,
  memorySource,
  parseHeader,
  planGguf,
  readGguf
} from '../gguf/index.ts'
import { type ContentItem, contentOf, type PartName, partOf, TOKENIZER } from './content.ts'
import { ManifestSchema } from './manifest_pb.ts'
import { HASH_BYTES, PieceTable } from './pieces.ts'

const VERSION = 1
const MIN_PIECE_BYTES = 16 * 1024
/** Half a second at 64 Mbit/s. */
const MAX_PIECE_BYTES = 4 * 1024 * 1024
/** Of a model, where pieces may have any size: their hashes stay below 512 KiB. */
const MOST_PIECES = 16_384
/** 32 bytes is what all files have. */
const MAX_ALIGNMENT = 64 * 1024
/** Many times what any model has. */
const MAX_BLOCKS = 10_000
/** Where nobody has hashed them: requests of this size keep a remote file's server busy. */
const UNHASHED_PIECE_BYTES = 1024 * 1024
/** What a manifest may have at most: 141 billion parameters in pieces of 4 MiB take 600 KB. */
export const MAX_MANIFEST_BYTES = 16 * 1024 * 1024
/** Keys that say how a model is stored and not what it is. */
const STORAGE_PREFIXES = ['split.', 'shoal.']
const TOKENIZER_PREFIX = 'tokenizer.'
/** Small, and of interest to who only talks to the model. */
const CHAT_TEMPLATE_PREFIX = 'tokenizer.chat_template'

export interface Manifest {
  /** Hex SHA-256 of `bytes`. */
  readonly id: string
  readonly bytes: Uint8Array
  /** Without the tokenizer, but with the chat template. */
  readonly metadata: Metadata
  readonly architecture: string
  readonly blockCount: number
  /** Everything that there is to fetch, in order of its offset: the tokenizer, then all tensors. */
  readonly items: readonly ContentItem[]
  /** Of the items, one after the other, padded. */
  readonly byteLength: number
  /** Hex SHA-256; equal for models whose token ids mean the same, such as a draft model's. */
  readonly tokenizer: string
  /** Undefined where nobody has hashed them: the bytes are then only as good as their source. */
  readonly pieces: PieceTable | undefined
}

export interface ManifestOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { bytes: number; total: number }) => void) | undefined
}

/** Reads and hashes all of a model. */
export async function makeManifest(model: GgufModel, options: ManifestOptions = {}): Promise<Manifest> {
  const draft = draftOf(model)
  const { items, byteLength } = contentOf(draft.header, draft.tokenizer.byteLength)
  const pieceBytes = pieceBytesFor(byteLength)
  const read = readerOf(model, draft.tokenizer.bytes)
  const table = new PieceTable(items, pieceBytes)
  const hashes = new Uint8Array(table.count * HASH_BYTES)
  let bytes = 0
  for (let index = 0; index < table.count; index++) {
    options.signal?.throwIfAborted()
    const { item, offset, byteLength: length } = table.at(index)
    const data = await read(item, offset, length, options.signal)
    hashes.set(createHash('sha256').update(data).digest(), index * HASH_BYTES)
    bytes += length
    options.onProgress?.({ bytes, total: byteLength })
  }
  return encode({ ...draft, pieceBytes, pieces: hashes, fingerprint: new Uint8Array(0) })
}

/**
 * Of a model that nobody has hashed, and that is too far away to read it all: a fingerprint of it, 4 KiB of each
 * tensor, stands for the pieces' hashes. Whoever has the same remote file has the same id.
 */
export async function makeProvisionalManifest(model: GgufModel, signal?: AbortSignal): Promise<Manifest> {
  const draft = draftOf(model)
  const digest = Buffer.from(await fingerprint(model, signal), 'hex')
  return encode({ ...draft, pieceBytes: 0, pieces: new Uint8Array(0), fingerprint: digest })
}

/** Throws a ShoalError MANIFEST for bytes that are none, or that say the same as others do. */
export function readManifest(bytes: Uint8Array): Manifest {
  try {
    if (bytes.byteLength > MAX_MANIFEST_BYTES) throw new Error(`it has ${bytes.byteLength} bytes`)
    const { version, header, pieceBytes, pieces, tokenizer, tokenizerBytes, ...rest } = fromBinary(
      ManifestSchema,
      bytes
    )
    if (version !== VERSION) throw new Error(`its version is ${version}, not ${VERSION}`)
    const manifest = encode({
      ...{ header, pieceBytes, pieces, fingerprint: rest.fingerprint },
      tokenizer: { byteLength: Number(tokenizerBytes), hash: tokenizer }
    })
    if (Buffer.compare(manifest.bytes, bytes) !== 0) throw new Error('it is not written as manifests are')
    return manifest
  } catch (cause) {
    throw new ShoalError('MANIFEST', `This is no manifest of a model: ${(cause as Error).message}.`, {
      cause
    })
  }
}

/**
 * The model as GGUF readers see it, its tensors in the one source that `read` stands for: `[0, byteLength)` of the
 * content. With the tokenizer's bytes its keys are there, too.
 */
export async function modelOf(
  manifest: Manifest,
  read: (offset: number, length: number, signal?: AbortSignal) => Promise<Uint8Array>,
  tokenizer?: Uint8Array
): Promise<GgufModel> {
  const { metadata, items, byteLength } = manifest
  const keys = tokenizer === undefined ? [] : [...(await readGguf(memorySource(tokenizer))).metadata]
  if (keys.some(([key]) => !key.startsWith(TOKENIZER_PREFIX))) {
    throw new ShoalError('MANIFEST', 'The model’s tokenizer says more than a tokenizer may.')
  }
  const tensors = new Map(
    items.flatMap(({ name, tensor, offset, byteLength: length }) =>
      tensor === undefined
        ? []
        : [[name, { name, ...tensor, source: 0, offset, byteLength: length }] as const]
    )
  )
  return {
    ...{ version: 3, alignment: alignmentOf(metadata), tensors },
    metadata: new Map([...metadata, ...keys]),
    sources: [{ size: byteLength, read, close: async () => {} }]
  }
}

/** How it is cut, also where nobody has hashed the pieces (which are then not intact, whatever they are). */
export function pieceTableOf({ items, pieces }: Manifest): PieceTable {
  return pieces ?? new PieceTable(items, UNHASHED_PIECE_BYTES)
}

/** The items of some parts, in order. */
export function itemsOf({ items }: Manifest, parts: ReadonlySet<PartName>): ContentItem[] {
  return items.filter(({ part }) => parts.has(part))
}

/** The bytes of the tokenizer's item: a GGUF header that has its keys only. */
export function tokenizerOf(model: GgufModel): Uint8Array {
  return draftOf(model).tokenizer.bytes
}

interface Draft {
  readonly header: Uint8Array
  readonly tokenizer: { readonly byteLength: number; readonly hash: Uint8Array; readonly bytes?: Uint8Array }
}

interface Contents extends Draft {
  readonly pieceBytes: number
  readonly pieces: Uint8Array
  readonly fingerprint: Uint8Array
}

function shapeOf(metadata: Metadata): { architecture: string; blockCount: number } {
  const architecture = metadata.get('general.architecture')?.value
  const blockCount = metadata.get(`${String(architecture)}.block_count`)?.value
  if (typeof architecture === 'string' && typeof blockCount === 'number') return { architecture, blockCount }
  throw new ShoalError('MANIFEST', 'The model does not say its architecture, or how many blocks it has.')
}

/** The same for equal models, in whatever order and number of parts they are stored. */
function draftOf(model: GgufModel): Draft & { tokenizer: { bytes: Uint8Array } } {
  if (model.metadata.has('shoal.span.start')) {
    throw new ShoalError(
      'MANIFEST',
      'This file has some blocks of a model, not the whole: name the whole one.'
    )
  }
  shapeOf(model.metadata)
  const keys = [...model.metadata]
    .filter(([key]) => !STORAGE_PREFIXES.some((prefix) => key.startsWith(prefix)))
    .sort(([a], [b]) => order(a, b))
  const isTokenizer = ([key]: readonly [string, unknown]): boolean =>
    key.startsWith(TOKENIZER_PREFIX) && !key.startsWith(CHAT_TEMPLATE_PREFIX)
  const tensors = [...model.tensors.values()]
    .map(({ name, dims, type }) => ({ name, dims, type, data: () => [] }))
    .sort((a, b) => rankOf(a.name) - rankOf(b.name) || order(a.name, b.name))
  const tokenizer = planGguf({ metadata: new Map(keys.filter(isTokenizer)), tensors: [] }).header
  const { header } = planGguf({ metadata: new Map(keys.filter((key) => !isTokenizer(key))), tensors })
  const hash = createHash('sha256').update(tokenizer).digest()
  return { header, tokenizer: { bytes: tokenizer, byteLength: tokenizer.byteLength, hash } }
}

function rankOf(name: string): number {
  const part = partOf(name)
  const at = ['globals', 'embedding', 'head'].indexOf(part)
  return at >= 0 ? at : 3 + Number(part.slice('block-'.length))
}

function pieceBytesFor(byteLength: number): number {
  const least = 2 ** Math.ceil(Math.log2(byteLength / MOST_PIECES))
  return Math.min(Math.max(least, MIN_PIECE_BYTES), MAX_PIECE_BYTES)
}

type ContentReader = (
  item: ContentItem,
  offset: number,
  length: number,
  signal?: AbortSignal
) => Promise<Uint8Array>

/** Reads a model's content out of GGUFs, however they store it: `length` bytes of an item from `offset`. */
export function contentReader(model: GgufModel): ContentReader {
  return readerOf(model, draftOf(model).tokenizer.bytes)
}

function readerOf(model: GgufModel, tokenizer: Uint8Array): ContentReader {
  return async ({ name }, offset, length, signal) => {
    if (name === TOKENIZER) return tokenizer.subarray(offset, offset + length)
    const tensor = model.tensors.get(name)
    const source = model.sources[tensor?.source ?? 0]
    if (tensor === undefined || source === undefined) throw new Error(`no tensor ${name}`)
    return source.read(tensor.offset + offset, length, signal)
  }
}

/** Checks all that a hostile manifest could get wrong. */
function encode({ header, tokenizer, pieceBytes, pieces, fingerprint: digest }: Contents): Manifest {
  const parsed = parseHeader(header, Number.MAX_SAFE_INTEGER)
  const { metadata } = parsed
  const { architecture, blockCount } = shapeOf(metadata)
  if (!(Number.isInteger(blockCount) && blockCount > 0 && blockCount <= MAX_BLOCKS)) {
    throw new Error(`it has ${blockCount} blocks`)
  }
  if (parsed.alignment > MAX_ALIGNMENT)
    throw new Error(`its tensors are aligned to ${parsed.alignment} bytes`)
  const model = {
    ...parsed,
    tensors: new Map(parsed.tensors.map((tensor) => [tensor.name, { ...tensor, source: 0 }]))
  }
  if (Buffer.compare(draftOf({ ...model, sources: [] }).header, header) !== 0) {
    throw new Error('its header is not written as in manifests')
  }
  if (tokenizer.hash.byteLength !== HASH_BYTES) throw new Error('its tokenizer has no hash')
  const { items, byteLength } = contentOf(header, tokenizer.byteLength)
  const isHashed = pieceBytes > 0
  if (isHashed && (!Number.isInteger(Math.log2(pieceBytes)) || pieceBytes > MAX_PIECE_BYTES)) {
    throw new Error(`its pieces have ${pieceBytes} bytes`)
  }
  const table = isHashed ? new PieceTable(items, pieceBytes, pieces) : undefined
  if (digest.byteLength !== (isHashed ? 0 : HASH_BYTES) || (!isHashed && pieces.byteLength > 0)) {
    throw new Error('it has neither hashes of pieces nor a fingerprint')
  }
  const message = create(ManifestSchema, {
    ...{ version: VERSION, header, pieceBytes, pieces, fingerprint: digest },
    ...{ tokenizer: tokenizer.hash, tokenizerBytes: BigInt(tokenizer.byteLength) }
  })
  const bytes = toBinary(ManifestSchema, message)
  return {
    ...{ bytes, metadata, architecture, blockCount, items, byteLength, pieces: table },
    id: createHash('sha256').update(bytes).digest('hex'),
    tokenizer: Buffer.from(tokenizer.hash).toString('hex')
  }
}

function alignmentOf(metadata: Metadata): number {
  const value = metadata.get('general.alignment')?.value
  return typeof value === 'number' ? value : 32
}

/** By code units: the same everywhere, unlike an order by locale. */
function order(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
