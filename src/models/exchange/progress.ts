/** What a transfer is given, and what it says. */
import { type Clock, ShoalError } from '../../common/index.ts'
import type { PartName } from '../content.ts'
import type { PieceSource, StoredModel } from '../contract.ts'
import type { PieceTable } from '../pieces.ts'
import type { TokenBucket } from './token-bucket.ts'

export interface TransferComponents {
  readonly model: StoredModel
  readonly clock: Clock
  /** From 0 to 1; each node's own, since it is why they fetch different pieces first. */
  readonly random: () => number
  /** What all transfers may fetch together. Default: as fast as the line. */
  readonly bucket?: TokenBucket | undefined
}

export interface TransferInit {
  readonly parts: ReadonlySet<PartName>
  /** What peers have is fetched from `http` as well only while peers give less. Bytes per second. */
  readonly enoughFromPeers?: number
  /** Without any piece for so long, it gives up. */
  readonly deadlineMs?: number
  readonly maxBytesInFlight?: number
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined
  /** Called when a source gave a bad piece, and was closed. */
  readonly onBadSource?: ((source: PieceSource) => void) | undefined
}

export interface TransferProgress {
  /** Here, of all that were asked for; those that were here before count. */
  readonly pieces: number
  readonly totalPieces: number
  readonly bytes: number
  readonly totalBytes: number
  /** Fetched, by the kind of source. */
  readonly fetched: Readonly<Record<PieceSource['kind'], number>>
  /** That pieces may come from now. */
  readonly peers: number
  readonly bytesPerSecond: number
  /** Undefined: nothing comes. */
  readonly etaSeconds: number | undefined
}

/** Bytes per second over the last seconds, measured whenever somebody looks. */
export class Rate {
  readonly #windowMs: number
  readonly #marks: { at: number; bytes: number }[] = []

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** To be called now and then, with all bytes that ever came. */
  mark(at: number, bytes: number): void {
    this.#marks.push({ at, bytes })
    while (this.#marks.length > 2 && at - (this.#marks[1]?.at ?? at) >= this.#windowMs) this.#marks.shift()
  }

  get bytesPerSecond(): number {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)]
    if (first === undefined || last === undefined || last.at === first.at) return 0
    return ((last.bytes - first.bytes) * 1000) / (last.at - first.at)
  }
}

/** Of pieces that did not come: whether anybody has them. */
export function unavailable(
  table: PieceTable,
  missing: readonly number[],
  sources: readonly PieceSource[]
): ShoalError {
  const nobodyHas = missing.filter((index) => !sources.some((source) => source.has(index)))
  const indices = nobodyHas.length > 0 ? nobodyHas : missing
  const parts = [...new Set(indices.map((index) => table.at(index).item.part))]
  const some =
    parts.length > 5 ? `${parts.slice(0, 5).join(', ')} and ${parts.length - 5} more` : parts.join(', ')
  const what =
    nobodyHas.length > 0
      ? `nobody who can be reached has ${indices.length} pieces (of ${some})`
      : `of ${sources.length} sources none gives the ${indices.length} pieces that are missing (of ${some})`
  return new ShoalError(
    'UNAVAILABLE',
    `The model can't be fetched now: ${what}. What has come is kept; try again later, or name another source.`
  )
}
