import { createHash } from 'node:crypto'
import { ShoalError } from '../../common/index.ts'
import type { ContentItem } from '../content.ts'
import type { PieceReceived, PieceSource } from '../contract.ts'
import { type Manifest, pieceTableOf, tokenizerOf } from '../manifest.ts'
import type { Piece, PieceTable } from '../pieces.ts'
import type { RemoteFile } from './remote-file.ts'
import type { RemoteModel } from './remote-model.ts'

/** Long enough that a round trip does not matter, short enough to share a block among several. */
const RANGE_BYTES = 16 * 1024 * 1024
/** Servers and their networks give a connection only so much. */
const PARALLEL = 4
/** Padding between tensors is read along; what is further apart is another range. */
const GAP_BYTES = 4 * 1024

export interface HttpPiecesInit {
  readonly rangeBytes?: number
  readonly parallel?: number
}

/** Where a piece is: in which file, from where. */
interface Place {
  readonly piece: Piece
  readonly file: number
  readonly offset: number
}

export interface PieceRange {
  readonly file: number
  readonly offset: number
  readonly byteLength: number
  /** In order, apart from each other. */
  readonly places: readonly Place[]
}

/** The pieces of a model out of its GGUF files on a server, by ranges, some at once. */
export class HttpPieces implements PieceSource {
  readonly kind = 'http'
  readonly name: string
  readonly #files: readonly RemoteFile[]
  readonly #table: PieceTable
  readonly #tokenizer: Uint8Array
  readonly #model: RemoteModel
  readonly #rangeBytes: number
  readonly #parallel: number

  /** Throws a ShoalError MODEL where the files are no such model. */
  constructor(manifest: Manifest, model: RemoteModel, init: HttpPiecesInit = {}) {
    this.name = model.files[0]?.name ?? ''
    this.#files = model.files
    this.#table = pieceTableOf(manifest)
    this.#model = model
    this.#tokenizer = tokenizerOf(model.gguf)
    this.#rangeBytes = init.rangeBytes ?? RANGE_BYTES
    this.#parallel = init.parallel ?? PARALLEL
    const tokenizer = createHash('sha256').update(this.#tokenizer).digest('hex')
    const other = manifest.items.find((item) => !this.#isItem(item, tokenizer === manifest.tokenizer))
    if (other !== undefined) {
      const message = `${this.name} is another model ("${other.name}" differs): use another source.`
      throw new ShoalError('MODEL', message)
    }
  }

  has(index: number): boolean {
    return index >= 0 && index < this.#table.count
  }

  /** Throws what stopped one of the ranges; the others stop, too. */
  async fetch(
    indices: readonly number[],
    onPiece: (piece: PieceReceived) => void,
    signal: AbortSignal
  ): Promise<void> {
    signal.throwIfAborted()
    const places: Place[] = []
    for (const index of new Set(indices)) {
      const piece = this.#table.at(index)
      const tensor = this.#model.gguf.tensors.get(piece.item.name)
      if (tensor === undefined) onPiece({ index, bytes: this.#fromTokenizer(piece) })
      else places.push({ piece, file: tensor.source, offset: tensor.offset + piece.offset })
    }
    const ranges = rangesOf(places, this.#rangeBytes).values()
    const failed = new AbortController()
    const either = AbortSignal.any([signal, failed.signal])
    const work = async (): Promise<void> => {
      for (const range of ranges) await this.#fetchRange(range, onPiece, either)
    }
    const workers = Array.from({ length: this.#parallel }, () =>
      work().catch((error: unknown) => {
        failed.abort(error)
      })
    )
    await Promise.all(workers)
    either.throwIfAborted()
  }

  async close(): Promise<void> {}

  #isItem({ tensor, name, byteLength }: ContentItem, isTokenizer: boolean): boolean {
    if (tensor === undefined) return isTokenizer
    const stored = this.#model.gguf.tensors.get(name)
    return stored?.byteLength === byteLength && stored.type === tensor.type
  }

  #fromTokenizer({ offset, byteLength }: Piece): Uint8Array {
    return this.#tokenizer.slice(offset, offset + byteLength)
  }

  async #fetchRange(
    range: PieceRange,
    onPiece: (piece: PieceReceived) => void,
    signal: AbortSignal
  ): Promise<void> {
    const { file, offset, byteLength } = range
    await this.#files[file]?.stream(offset, byteLength, signal, cutter(range, onPiece))
  }
}

/** Neighbours together, up to a length. Every piece is in one range, whole. */
export function rangesOf(places: readonly Place[], rangeBytes: number): PieceRange[] {
  const sorted = places.toSorted((a, b) => a.file - b.file || a.offset - b.offset)
  const ranges: { file: number; offset: number; byteLength: number; places: Place[] }[] = []
  for (const place of sorted) {
    const last = ranges.at(-1)
    const end = place.offset + place.piece.byteLength
    const isNear =
      last?.file === place.file &&
      place.offset - (last.offset + last.byteLength) <= GAP_BYTES &&
      end - last.offset <= rangeBytes
    if (isNear) {
      last.byteLength = end - last.offset
      last.places.push(place)
    } else {
      ranges.push({ file: place.file, offset: place.offset, byteLength: end - place.offset, places: [place] })
    }
  }
  return ranges
}

/** Takes a range's bytes as they come, and gives each piece when its last byte is there. */
export function cutter(
  range: PieceRange,
  onPiece: (piece: PieceReceived) => void
): (bytes: Uint8Array) => void {
  let at = range.offset
  let next = 0
  let buffer: Uint8Array | undefined
  return (bytes) => {
    for (let rest = bytes; rest.byteLength > 0; ) {
      const place = range.places[next]
      if (place === undefined) return
      const { index, byteLength } = place.piece
      const filled = at - place.offset
      const part = rest.subarray(0, filled < 0 ? -filled : byteLength - filled)
      rest = rest.subarray(part.byteLength)
      at += part.byteLength
      if (filled < 0) continue // padding
      buffer ??= new Uint8Array(byteLength)
      buffer.set(part, filled)
      if (filled + part.byteLength < byteLength) continue
      const whole = buffer
      buffer = undefined
      next += 1
      onPiece({ index, bytes: whole })
    }
  }
}
