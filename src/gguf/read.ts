import { WindowTooShort } from './cursor.ts'
import { GgufError } from './errors.ts'
import { type Header, parseHeader } from './header.ts'
import type { ByteSource, GgufModel, Metadata, TensorInfo } from './types.ts'

/** A first guess that holds the header of a model without a vocabulary; doubled until the header fits. */
const FIRST_WINDOW_BYTES = 64 * 1024

/** The keys by which a file says that it is part of a multi-part model. */
const PARTS_PREFIX = 'split.'

/**
 * Reads the headers of a model: one GGUF (version 2 or 3, little-endian) or all parts of a multi-part one, in their
 * order. Nothing but headers is read, and nothing twice; the sources stay open and the caller's.
 *
 * Throws a GgufError for a file that breaks the format, and whatever a source throws.
 */
export async function readGguf(
  sources: ByteSource | readonly ByteSource[],
  signal?: AbortSignal
): Promise<GgufModel> {
  const parts: readonly ByteSource[] = 'read' in sources ? [sources] : sources
  const headers: Header[] = []
  for (const source of parts) headers.push(await readHeader(source, signal))
  const [first] = headers
  if (first === undefined) throw new GgufError('PARTS', 0, 'a model has at least one file')
  const tensors = mergeTensors(headers)
  checkParts(headers, tensors.size)
  const metadata: Metadata = new Map([...first.metadata].filter(([key]) => !key.startsWith(PARTS_PREFIX)))
  return { version: first.version, alignment: first.alignment, metadata, tensors, sources: [...parts] }
}

/**
 * The names of all parts of a multi-part model, by the name of any of them (`x-00001-of-00003.gguf`); the name alone
 * when it is not a part's. Folders before the name are kept.
 */
export function splitPartNames(fileName: string): string[] {
  const match = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s.exec(fileName)
  const [, stem = '', part = '0', total = '0'] = match ?? []
  if (Number(part) < 1 || Number(part) > Number(total)) return [fileName]
  return Array.from({ length: Number(total) }, (_, index) => {
    return `${stem}-${String(index + 1).padStart(5, '0')}-of-${total}.gguf`
  })
}

/**
 * Parses what was read so far and, when the header goes on, reads as much again and starts over: parsing stays a
 * plain synchronous function, and all attempts together cost at most twice the last.
 */
async function readHeader(source: ByteSource, signal?: AbortSignal): Promise<Header> {
  let window = new Uint8Array(0)
  let length = Math.min(FIRST_WINDOW_BYTES, source.size)
  for (;;) {
    signal?.throwIfAborted()
    const grown = new Uint8Array(length)
    grown.set(window)
    grown.set(await source.read(window.length, length - window.length, signal), window.length)
    window = grown
    try {
      return parseHeader(window, source.size)
    } catch (error) {
      if (!(error instanceof WindowTooShort)) throw error
      length = Math.min(Math.max(2 * length, error.length), source.size)
    }
  }
}

function mergeTensors(headers: readonly Header[]): Map<string, TensorInfo> {
  const tensors = new Map<string, TensorInfo>()
  for (const [source, header] of headers.entries()) {
    for (const tensor of header.tensors) {
      if (tensors.has(tensor.name)) {
        throw new GgufError('PARTS', 0, `tensor "${tensor.name}" is in part ${source + 1} and in one before`)
      }
      tensors.set(tensor.name, { ...tensor, source })
    }
  }
  return tensors
}

function checkParts(headers: readonly Header[], tensorCount: number): void {
  for (const [index, { metadata }] of headers.entries()) {
    const where = `file ${index + 1} of the ${headers.length} given`
    const count = partNumber(metadata, 'split.count', where) ?? 1
    if (Math.max(count, 1) !== headers.length) {
      throw new GgufError(
        'PARTS',
        0,
        `${where} belongs to a model of ${count} parts: give all of them, in order`
      )
    }
    if (headers.length === 1) continue
    const number = partNumber(metadata, 'split.no', where)
    if (number !== index) {
      throw new GgufError(
        'PARTS',
        0,
        `${where} is part ${number === undefined ? 'unknown' : number + 1} of its model`
      )
    }
    const total = partNumber(metadata, 'split.tensors.count', where)
    if (total !== undefined && total !== tensorCount) {
      throw new GgufError(
        'PARTS',
        0,
        `${where} says the model has ${total} tensors, but its parts have ${tensorCount}`
      )
    }
  }
}

function partNumber(metadata: Metadata, key: string, where: string): number | undefined {
  const entry = metadata.get(key)
  if (entry === undefined) return undefined
  if (typeof entry.value === 'number') return entry.value
  throw new GgufError('PARTS', 0, `${where} has a ${key} that is no number but ${entry.type}`)
}
