import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder, replaceFile } from '../common/index.ts'
import type { GgufModel } from '../gguf/index.ts'
import { type Manifest, type ManifestOptions, makeManifest, readManifest } from './manifest.ts'

/** Hashing less than this takes less than to look whether somebody has. */
const WORTH_KEEPING_BYTES = 64 * 1024 * 1024

/**
 * The manifest of a model in files. Large ones are hashed once, and again when one of the files has another size,
 * place or time of change; `cache` is the folder where that is remembered.
 */
export async function manifestOf(
  model: GgufModel,
  files: readonly string[],
  { cache, ...options }: ManifestOptions & { readonly cache?: string | undefined } = {}
): Promise<Manifest> {
  const bytes = model.sources.reduce((sum, { size }) => sum + size, 0)
  if (cache === undefined || bytes < WORTH_KEEPING_BYTES) return makeManifest(model, options)
  const path = join(cache, `${await keyOf(files)}.manifest`)
  const known = await readFile(path)
    .then(readManifest)
    .catch(() => undefined)
  if (known !== undefined) return known
  const manifest = await makeManifest(model, options)
  const keep = async (): Promise<void> => {
    makeFolder(cache)
    await replaceFile(path, manifest.bytes)
  }
  await keep().catch(() => {}) // it is hashed again then
  return manifest
}

async function keyOf(files: readonly string[]): Promise<string> {
  const stats = await Promise.all(files.map((file) => stat(file, { bigint: true })))
  const parts = stats.map(({ size, ino, mtimeNs }, index) => [files[index], size, ino, mtimeNs].join(' '))
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}
