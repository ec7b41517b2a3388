import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FileSource, ShoalError } from '../common/index.ts'
import { type GgufModel, readGguf, splitPartNames } from '../gguf/index.ts'
import type { Manifest, ManifestOptions } from './manifest.ts'
import { manifestOf } from './manifest-cache.ts'

/** What is known of a model, wherever its tensors are. */
export interface Model {
  readonly manifest: Manifest
  /** Headers; whether its sources can be read is the opener's matter. */
  readonly gguf: GgufModel
  /** Hex: the manifest's. Equal for equal models, however they are stored. */
  readonly id: string
  readonly name: string
  readonly architecture: string
  readonly blockCount: number
  readonly width: number
}

/** A model on disk, read once and hashed. Close it when done. */
export interface ModelFile extends Model {
  /** The first part's path. */
  readonly path: string
  /** All parts, in order. */
  readonly files: readonly string[]
  close(): Promise<void>
}

export interface OpenOptions extends ManifestOptions {
  /** Where it is remembered what large files hash to; default: nowhere. */
  readonly cache?: string | undefined
}

/** Opens a GGUF file, or all parts of a multi-part one given its first. Throws a GgufError for anything else, a ShoalError for what can't be read. */
export async function openModel(path: string, options: OpenOptions = {}): Promise<ModelFile> {
  const { files, sources } = await openParts(path)
  const close = async (): Promise<void> => {
    await Promise.all(sources.map((source) => source.close()))
  }
  try {
    const gguf = await readGguf(sources, options.signal)
    const manifest = await manifestOf(gguf, files, options)
    return { ...describe(manifest, gguf, basename(path, '.gguf')), path, files, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** `name` is for a model that does not say its own. */
export function describe(manifest: Manifest, gguf: GgufModel, name: string): Model {
  const { id, architecture, blockCount } = manifest
  return {
    ...{ manifest, gguf, id, architecture, blockCount },
    name: text(gguf, 'general.name') ?? name,
    width: count(gguf, `${architecture}.embedding_length`)
  }
}

/** All parts of a model, given its first, not read yet. */
export async function openParts(path: string): Promise<{ files: string[]; sources: FileSource[] }> {
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
