/** Makes the record say what is on disk: pieces are read and hashed again. */
import { stat, truncate } from 'node:fs/promises'
import { FileSource } from '../../common/index.ts'
import { storeError } from './errors.ts'
import type { PartLayout } from './layout.ts'
import type { ModelOnDisk } from './stored-model.ts'

export interface VerifyOptions {
  readonly signal?: AbortSignal | undefined
  /** In bytes. */
  readonly onProgress?: ((progress: { bytes: number; total: number }) => void) | undefined
}

/** All that is on disk of some parts. Intact pieces that nobody noted are noted. Returns how many bytes that were. */
export async function verifyParts(
  model: ModelOnDisk,
  parts: readonly PartLayout[],
  { signal, onProgress }: VerifyOptions = {}
): Promise<number> {
  const doubtful = new Set(model.doubtfulParts())
  const total = parts.reduce((sum, { byteLength }) => sum + byteLength, 0)
  let before = 0
  for (const part of parts) {
    const onRead = (bytes: number): void => onProgress?.({ bytes: before + bytes, total })
    try {
      const isShort = await mendLength(model.path(part), part.byteLength)
      const isLost = model.manifest.pieces === undefined && (isShort || doubtful.has(part))
      const pieces = isLost ? nothingOf(part) : await checkPart(model, part, onRead, signal)
      model.noteChecked(part, pieces)
      await model.sync(part)
    } catch (error) {
      if (model.isKept(part)) throw storeError(error, model.path(part)) // else it was dropped meanwhile
    }
    before += part.byteLength
  }
  model.refresh()
  return total
}

async function mendLength(path: string, byteLength: number): Promise<boolean> {
  const { size } = await stat(path)
  if (size !== byteLength) await truncate(path, byteLength)
  return size < byteLength
}

/** Without hashes, nobody can tell what has reached the disk. */
function nothingOf({ firstPiece, pieceCount }: PartLayout): Map<number, boolean> {
  return new Map(Array.from({ length: pieceCount }, (_, at) => [firstPiece + at, false]))
}

async function checkPart(
  model: ModelOnDisk,
  part: PartLayout,
  onRead: (bytes: number) => void,
  signal?: AbortSignal
): Promise<Map<number, boolean>> {
  const found = new Map<number, boolean>()
  if (model.manifest.pieces === undefined) return found
  const file = await FileSource.open(model.path(part))
  try {
    for (let index = part.firstPiece; index < part.firstPiece + part.pieceCount; index++) {
      const wasNoted = model.has(index)
      const { position, byteLength } = model.layout.at(index)
      const isIntact = model.isIntact(index, await file.read(position, byteLength, signal))
      if (isIntact || wasNoted) found.set(index, isIntact) // else somebody may be writing it
      onRead(position + byteLength)
    }
  } finally {
    await file.close()
  }
  return found
}
