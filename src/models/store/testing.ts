// What the tests of this folder share.
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { PartName } from '../content.ts'
import type { PieceReceived, PieceSource, StoredModel } from '../contract.ts'
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
  const pieces: PieceReceived[] = []
  await source.fetch(missing, (piece) => pieces.push(piece), new AbortController().signal)
  await Promise.all(pieces.map((piece) => model.write(piece)))
  return missing.length
}

export function allParts({ items }: Manifest): Set<PartName> {
  return new Set(items.map(({ part }) => part))
}

export async function changeByte(path: string, position: number): Promise<void> {
  const file = await open(path, 'r+')
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, position)
  await file.write(Buffer.of((buffer[0] as number) ^ 1), 0, 1, position)
  await file.close()
}
