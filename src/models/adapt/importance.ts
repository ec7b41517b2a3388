/** Importance matrices as files: llama-imatrix's GGUF, written and read, and its older format, read. */
import { open, readFile } from 'node:fs/promises'
import { FileSource, ShoalError } from '../../common/index.ts'
import type { ImportanceEntry, ImportanceSums } from '../../engine/index.ts'
import {
  GgufError,
  type GgufModel,
  type Metadata,
  planGguf,
  readGguf,
  type TensorInfo,
  type TensorToWrite,
  writeGguf
} from '../../gguf/index.ts'
import { readLegacyImportance } from './legacy-importance.ts'

export interface ImportanceMatrix extends ImportanceSums {
  /** The texts that it was computed from. */
  readonly datasets: readonly string[]
  /** In tokens; 0: the file does not say. */
  readonly chunkLength: number
}

const SUMS = '.in_sum2'
const COUNTS = '.counts'
const KEYS = {
  datasets: 'imatrix.datasets',
  chunks: 'imatrix.chunk_count',
  chunkLength: 'imatrix.chunk_size'
} as const
const MAGIC = 'GGUF'

/** Throws a ShoalError (IMPORTANCE) for a file that is none. */
export async function readImportance(path: string): Promise<ImportanceMatrix> {
  const source = await FileSource.open(path).catch((cause: NodeJS.ErrnoException) => {
    const reason = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
    throw new ShoalError('IMPORTANCE', `Cannot read the importance matrix ${path}: ${reason}.`, { cause })
  })
  try {
    const start = await source.read(0, Math.min(MAGIC.length, source.size))
    const isGguf = new TextDecoder().decode(start) === MAGIC
    const matrix = isGguf
      ? await readEntries(await readGguf(source))
      : readLegacyImportance(await readFile(path))
    checkEntries(matrix.entries)
    return matrix
  } catch (error) {
    if (!(error instanceof GgufError || error instanceof RangeError)) throw error
    throw new ShoalError('IMPORTANCE', `${path} is no importance matrix: ${error.message}.`, { cause: error })
  } finally {
    await source.close()
  }
}

async function readEntries({ metadata, tensors, sources }: GgufModel): Promise<ImportanceMatrix> {
  const datasets = metadata.get(KEYS.datasets)
  if (datasets?.type !== 'array' || datasets.itemType !== 'string') throw missing(KEYS.datasets)
  const floats = async ({ name, type, source, offset, byteLength }: TensorInfo): Promise<Float32Array> => {
    if (type !== 'F32') throw new RangeError(`"${name}" is ${type}, not F32`)
    const bytes = (await sources[source]?.read(offset, byteLength)) as Uint8Array
    return new Float32Array(bytes.buffer, bytes.byteOffset, byteLength / 4)
  }
  const entries: ImportanceEntry[] = []
  for (const tensor of tensors.values()) {
    if (!tensor.name.endsWith(SUMS)) continue
    const name = tensor.name.slice(0, -SUMS.length)
    const counts = tensors.get(name + COUNTS)
    if (counts === undefined) throw missing(name + COUNTS)
    entries.push({ name, sums: await floats(tensor), counts: await floats(counts) })
  }
  return {
    datasets: datasets.value as string[],
    chunks: numberAt(metadata, KEYS.chunks),
    chunkLength: numberAt(metadata, KEYS.chunkLength),
    entries
  }
}

function numberAt(metadata: Metadata, key: string): number {
  const value = metadata.get(key)?.value
  if (typeof value !== 'number') throw missing(key)
  return value
}

function missing(what: string): RangeError {
  return new RangeError(`it has no ${what}`)
}

function checkEntries(entries: readonly ImportanceEntry[]): void {
  if (entries.length === 0) throw new RangeError('it has no entries')
  for (const { name, sums, counts } of entries) {
    if (sums.length === 0 || counts.length === 0 || sums.length % counts.length !== 0) {
      throw new RangeError(`"${name}" has ${sums.length} sums for ${counts.length} counts`)
    }
    const isNumber = (value: number): boolean => Number.isFinite(value) && value >= 0
    if (!sums.every(isNumber) || !counts.every(isNumber)) {
      throw new RangeError(`"${name}" has sums that can't be ones of squares`)
    }
  }
}

/** Byte for byte what llama-imatrix writes of the same sums. */
export async function writeImportance(path: string, matrix: ImportanceMatrix): Promise<void> {
  const metadata: Metadata = new Map([
    ['general.type', { type: 'string', value: 'imatrix' }],
    [KEYS.datasets, { type: 'array', itemType: 'string', value: matrix.datasets }],
    [KEYS.chunks, { type: 'u32', value: matrix.chunks }],
    [KEYS.chunkLength, { type: 'u32', value: matrix.chunkLength }]
  ])
  const tensors = matrix.entries.flatMap(({ name, sums, counts }): TensorToWrite[] => {
    const matrices = counts.length === 1 ? [] : [counts.length]
    return [
      {
        name: name + SUMS,
        type: 'F32',
        dims: [sums.length / counts.length, ...matrices],
        data: bytesOf(sums)
      },
      { name: name + COUNTS, type: 'F32', dims: [1, ...matrices], data: bytesOf(counts) }
    ]
  })
  await using file = await open(path, 'w')
  await writeGguf({ write: (bytes) => file.writeFile(bytes) }, planGguf({ metadata, tensors }))
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/** Mean squares, `[matrices, columns]`: what the quantizer weighs errors with. Experts that nothing reached count as 1. */
export function importanceWeights({ sums, counts }: ImportanceEntry): Float32Array {
  const columns = sums.length / counts.length
  return sums.map((sum, index) => {
    const count = counts[Math.floor(index / columns)] as number
    return count > 0 ? sum / count : 1
  })
}
