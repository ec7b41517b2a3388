import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileSource, ShoalError } from '../common/index.ts'
import { fingerprint, type GgufModel, readGguf, splitPartNames } from '../gguf/index.ts'

/** A model on disk, its headers read and checked. Close it when done. */
export interface ModelFile {
  /** The first part's path. */
  readonly path: string
  /** All parts, in order. */
  readonly files: readonly string[]
  readonly gguf: GgufModel
  /** Hex; equal for equal models, however they are stored (see gguf's `fingerprint`). */
  readonly id: string
  readonly name: string
  readonly architecture: string
  readonly blockCount: number
  readonly width: number
  close(): Promise<void>
}

/** Opens a GGUF file, or all parts of a multi-part one given its first. Throws a GgufError for anything else, a ShoalError for what can't be read. */
export async function openModel(path: string, signal?: AbortSignal): Promise<ModelFile> {
  const { files, sources } = await openParts(path)
  const close = async (): Promise<void> => {
    await Promise.all(sources.map((source) => source.close()))
  }
  try {
    const gguf = await readGguf(sources, signal)
    const architecture = text(gguf, 'general.architecture') ?? 'unknown'
    return {
      path,
      files,
      gguf,
      id: await fingerprint(gguf, signal),
      name: text(gguf, 'general.name') ?? basename(path, '.gguf'),
      architecture,
      blockCount: count(gguf, `${architecture}.block_count`),
      width: count(gguf, `${architecture}.embedding_length`),
      close
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function openParts(path: string): Promise<{ files: string[]; sources: FileSource[] }> {
  try {
    const files = await partsOf(path)
    return { files, sources: await FileSource.openAll(files) }
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : message
    throw new ShoalError('MODEL_FILE', `Cannot read the model ${path}: ${reason}.`, { cause })
  }
}

async function partsOf(path: string): Promise<string[]> {
  const names = splitPartNames(basename(path))
  if (names.length <= 1) return [path]
  const present = new Set(await readdir(dirname(path)))
  return names.filter((name) => present.has(name)).map((name) => join(dirname(path), name))
}

function text(gguf: GgufModel, key: string): string | undefined {
  const value = gguf.metadata.get(key)?.value
  return typeof value === 'string' ? value : undefined
}

function count(gguf: GgufModel, key: string): number {
  const value = gguf.metadata.get(key)?.value
  return typeof value === 'number' ? value : 0
}
