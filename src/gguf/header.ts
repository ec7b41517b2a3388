// The header of one GGUF file: parsed from its first bytes, tensors with their place in the file.
import { Cursor } from './cursor.ts'
import { GgufError } from './errors.ts'
import { tensorByteLength, tensorTypeName } from './tensor-types.ts'
import type { Metadata, MetadataValue, ScalarType } from './types.ts'
import { ARRAY_TYPE_ID, scalarTypeName } from './value-types.ts'

/** 'GGUF', little-endian. */
export const MAGIC = 0x46554747

export const DEFAULT_ALIGNMENT = 32

// The least that a key (length, one letter, type, one byte) and a tensor (length, one letter, one dimension, type,
// offset) take in a file: what bounds their counts.
const MIN_KEY_BYTES = 8 + 1 + 4 + 1
const MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8

export interface HeaderTensor {
  readonly name: string
  readonly dims: readonly number[]
  readonly type: string
  /** From the start of the file, in bytes. */
  readonly offset: number
  readonly byteLength: number
}

export interface Header {
  readonly version: 2 | 3
  readonly alignment: number
  readonly metadata: Metadata
  readonly tensors: readonly HeaderTensor[]
}

/**
 * Parses a header. `window` is the file's beginning, `size` the whole file's length in bytes.
 * Throws a GgufError for a broken file, WindowTooShort when more of the file is needed.
 */
export function parseHeader(window: Uint8Array, size: number): Header {
  const cursor = new Cursor(window, size)
  const version = readVersion(cursor)
  const tensorCount = cursor.count('the number of tensors', MIN_TENSOR_BYTES)
  const keyCount = cursor.count('the number of keys', MIN_KEY_BYTES)
  const metadata = readMetadata(cursor, keyCount)
  const alignment = readAlignment(metadata, cursor.position)
  const entries: TensorEntry[] = []
  const names = new Set<string>()
  for (let index = 0; index < tensorCount; index++) {
    const entry = readTensor(cursor, index)
    if (names.has(entry.name)) throw badTensor(entry, 'is there twice')
    names.add(entry.name)
    entries.push(entry)
  }
  return { version, alignment, metadata, tensors: placeTensors(entries, cursor.position, alignment, size) }
}

/** `length` rounded up to a multiple of `alignment`. */
export function align(length: number, alignment: number): number {
  return Math.ceil(length / alignment) * alignment
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value)) && value >= 1
}

function readVersion(cursor: Cursor): 2 | 3 {
  const magic = cursor.u32('the magic number')
  if (magic !== MAGIC) {
    throw new GgufError('FORMAT', 0, 'this is no GGUF file: it does not start with "GGUF" at byte 0')
  }
  const version = cursor.u32('the version')
  if (version === 2 || version === 3) return version
  if ((version & 0xffff) === 0) {
    throw new GgufError(
      'FORMAT',
      4,
      'this is a big-endian GGUF file (version at byte 4); only little-endian ones work'
    )
  }
  throw new GgufError('FORMAT', 4, `GGUF version ${version} (at byte 4) is not supported; only 2 and 3 are`)
}

function readMetadata(cursor: Cursor, count: number): Metadata {
  const metadata: Metadata = new Map()
  for (let index = 0; index < count; index++) {
    const start = cursor.position
    const key = cursor.text(`key ${index}`)
    if (key === '') throw new GgufError('METADATA', start, `key ${index} at byte ${start} is empty`)
    if (metadata.has(key))
      throw new GgufError('METADATA', start, `key ${quote(key)} at byte ${start} is there twice`)
    metadata.set(key, readValue(cursor, key))
  }
  return metadata
}

function readValue(cursor: Cursor, key: string): MetadataValue {
  const what = `the value of ${quote(key)}`
  const start = cursor.position
  const id = cursor.u32(what)
  if (id !== ARRAY_TYPE_ID) {
    const type = knownType(id, key, start)
    return { type, value: cursor.scalar(type, what) }
  }
  const itemId = cursor.u32(what)
  if (itemId === ARRAY_TYPE_ID) {
    throw new GgufError(
      'METADATA',
      start,
      `${what} at byte ${start} is an array of arrays, which is not supported`
    )
  }
  const itemType = knownType(itemId, key, start)
  return { type: 'array', itemType, value: cursor.array(itemType, what) }
}

function knownType(id: number, key: string, offset: number): ScalarType {
  const type = scalarTypeName(id)
  if (type !== undefined) return type
  throw new GgufError(
    'METADATA',
    offset,
    `the value of ${quote(key)} at byte ${offset} is of unknown type ${id}`
  )
}

function readAlignment(metadata: Metadata, offset: number): number {
  const entry = metadata.get('general.alignment')
  if (entry === undefined) return DEFAULT_ALIGNMENT
  if (entry.type !== 'u32' || typeof entry.value !== 'number' || !isPowerOfTwo(entry.value)) {
    const found = `${entry.type} ${String(entry.value)}`
    throw new GgufError(
      'METADATA',
      offset,
      `general.alignment (before byte ${offset}) is ${found}, no u32 power of two`
    )
  }
  return entry.value
}

/** A tensor as the header has it; `start` is where its entry is in the file. */
interface TensorEntry {
  readonly start: number
  readonly name: string
  readonly dims: readonly number[]
  readonly type: string
  /** From the start of the tensor data. */
  readonly offset: bigint
  readonly byteLength: number
}

function readTensor(cursor: Cursor, index: number): TensorEntry {
  const start = cursor.position
  const name = cursor.text(`the name of tensor ${index}`)
  if (name === '') throw badTensor({ name: `number ${index}`, start }, 'has no name')
  const what = `tensor ${quote(name)}`
  const dimCount = cursor.u32(what)
  if (dimCount < 1 || dimCount > 4) throw badTensor({ name, start }, `has ${dimCount} dimensions, not 1 to 4`)
  const dims: number[] = []
  for (let dim = 0; dim < dimCount; dim++) dims.push(Number(cursor.u64(what)))
  const typeId = cursor.i32(what)
  const type = tensorTypeName(typeId)
  if (type === undefined) throw badTensor({ name, start }, `is of unknown type ${typeId}`)
  try {
    return { start, name, dims, type, byteLength: tensorByteLength(type, dims), offset: cursor.u64(what) }
  } catch (error) {
    if (error instanceof RangeError) throw badTensor({ name, start }, `can't be: ${error.message}`)
    throw error
  }
}

function placeTensors(
  entries: TensorEntry[],
  headerEnd: number,
  alignment: number,
  size: number
): HeaderTensor[] {
  const dataStart = align(headerEnd, alignment)
  const placed = entries.map((entry) => {
    const { start, name, dims, type, byteLength } = entry
    if (entry.offset % BigInt(alignment) !== 0n) {
      throw badTensor(entry, `is at ${entry.offset}, no multiple of the alignment ${alignment}`)
    }
    if (BigInt(dataStart) + entry.offset + BigInt(byteLength) > BigInt(size)) {
      const problem = `(${byteLength} bytes from ${dataStart} + ${entry.offset}) goes beyond the end of the file, ${size}`
      throw badTensor(entry, problem, 'TRUNCATED')
    }
    return { start, name, dims, type, byteLength, offset: dataStart + Number(entry.offset) }
  })
  const byOffset = placed.toSorted((a, b) => a.offset - b.offset)
  for (const [index, tensor] of byOffset.entries()) {
    const next = byOffset[index + 1]
    if (next !== undefined && tensor.offset + tensor.byteLength > next.offset) {
      throw badTensor(next, `overlaps ${quote(tensor.name)}`)
    }
  }
  return placed.map(({ start: _, ...tensor }) => tensor)
}

function badTensor(
  tensor: { readonly name: string; readonly start: number },
  problem: string,
  code: 'TENSOR' | 'TRUNCATED' = 'TENSOR'
): GgufError {
  return new GgufError(
    code,
    tensor.start,
    `tensor ${quote(tensor.name)} (described at byte ${tensor.start}) ${problem}`
  )
}

/** Names come from files of strangers: shown short, and with what a terminal could act on escaped. */
function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name)
}
