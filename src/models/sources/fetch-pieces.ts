import { ShoalError } from '../../common/index.ts'
import type { PartName } from '../content.ts'
import type { PieceSource, StoredModel } from '../contract.ts'
import { pieceTableOf } from '../manifest.ts'

/** What may be in memory, come but not written. */
const BATCH_BYTES = 64 * 1024 * 1024

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined
  /** Of what was missing, in bytes. */
  readonly onProgress?: ((progress: { readonly bytes: number; readonly total: number }) => void) | undefined
}

/**
 * Fetches the missing pieces of some parts from one source. For models that nobody has hashed, whose pieces come from
 * there or from nowhere; for all others a `Transfer` asks many at once. What has come is kept, whatever happens.
 *
 * Throws what the source or the store throws, a ShoalError UNAVAILABLE where the source did not give all of them.
 */
export async function fetchPieces(
  model: StoredModel,
  source: PieceSource,
  parts: ReadonlySet<PartName>,
  { signal, onProgress }: FetchOptions = {}
): Promise<void> {
  const table = pieceTableOf(model.manifest)
  const missing = model.missing(parts)
  const total = missing.reduce((sum, index) => sum + table.at(index).byteLength, 0)
  const length = Math.max(1, Math.floor(BATCH_BYTES / table.pieceBytes))
  const failed = new AbortController()
  const either = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal])
  let bytes = 0
  for (let start = 0; start < missing.length; start += length) {
    const writing: Promise<void>[] = []
    const write = async (index: number, piece: Uint8Array): Promise<void> => {
      try {
        await model.write({ index, bytes: piece })
        bytes += piece.byteLength
        onProgress?.({ bytes, total })
      } catch (error) {
        failed.abort(error)
      }
    }
    try {
      const batch = missing.slice(start, start + length)
      await source.fetch(batch, (piece) => writing.push(write(piece.index, piece.bytes)), either)
    } finally {
      await Promise.all(writing)
    }
    either.throwIfAborted()
  }
  const rest = model.missing(parts).length
  if (rest === 0) return
  throw new ShoalError(
    'UNAVAILABLE',
    `${source.name} did not give ${rest} pieces: try again, or another source.`
  )
}
