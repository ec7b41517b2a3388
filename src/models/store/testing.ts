// What the tests of this folder share.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { PartName } from '../content.ts'
import type { PieceSource, StoredModel } from '../contract.ts'
import type { Manifest } from '../manifest.ts'
import { openModel } from '../model-file.ts'
import { GgufPieces } from './gguf-pieces.ts'

export const DEMO = 'models/demo.gguf'

/** Gone when the test is over. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-store-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Closed when the test is over. */
export async function openPieces(path = DEMO): Promise<{ manifest: Manifest; source: GgufPieces }> {
  const model = await openModel(path)
  const source = new GgufPieces(model)
  onTestFinished(() => source.close())
  return { manifest: model.manifest, source }
}

/** Fetches what is missing; resolves to how many pieces that were. */
export async function fill(
  model: StoredModel,
  source: PieceSource,
  parts: ReadonlySet<PartName>
): Promise<number> {
  const missing = model.missing(parts)
  const writing: Promise<void>[] = []
  await source.fetch(missing, (piece) => writing.push(model.write(piece)), new AbortController().signal)
  await Promise.all(writing)
  return missing.length
}

export function allParts({ items }: Manifest): Set<PartName> {
  return new Set(items.map(({ part }) => part))
}
