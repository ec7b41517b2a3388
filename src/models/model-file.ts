import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileSource } from '../common/index.ts'
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

/** Opens a GGUF file, or all parts of a multi-part one given its first. Throws a GgufError for anything else. */
export async function openModel(path: string, signal?: AbortSignal): Promise<ModelFile> {
  const files = await partsOf(path)
  const sources = await FileSource.openAll(files)
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
