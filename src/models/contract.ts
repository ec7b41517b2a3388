/** What the store, sources of pieces and those who fetch have in common. */
import type { PartName } from './content.ts'
import type { Manifest } from './manifest.ts'

/** A piece, as it came from a source: nobody has checked it. */
export interface PieceReceived {
  readonly index: number
  readonly bytes: Uint8Array
}

/**
 * Gives pieces of one model: a peer, a remote file, a local one. It says which it has, and fetches several at once,
 * in the order that suits it.
 */
export interface PieceSource {
  /** For people: a peer's id, a URL without query and credentials, a path. */
  readonly name: string
  /** `peer`: it may have more later, and choke; others have what they have. */
  readonly kind: 'peer' | 'http' | 'file'
  has(index: number): boolean
  /**
   * Calls `onPiece` for each as it comes. Resolves when all have come, also where it gave up on some that others may
   * have; rejects with a ShoalError when the source is of no more use, or with the signal's reason.
   */
  fetch(
    indices: readonly number[],
    onPiece: (piece: PieceReceived) => void,
    signal: AbortSignal
  ): Promise<void>
  close(): Promise<void>
}

/** A model in the store. */
export interface StoredModel {
  readonly manifest: Manifest
  /** Whether the piece is on disk, checked. */
  has(index: number): boolean
  /** One bit per piece, the highest first: piece 0 is 0x80 of byte 0. A copy. */
  readonly bitfield: Uint8Array
  /** Of the parts: pieces that are not there, in order. */
  missing(parts: ReadonlySet<PartName>): number[]
  /** For seeding. Throws a ShoalError where it is not there. */
  read(index: number, signal?: AbortSignal): Promise<Uint8Array>
  /**
   * Checks and keeps a piece. Throws a ShoalError PIECE where it is not intact (and nothing is changed), DISK where the
   * disk is full or can't be written. A piece that is there already is left as it is.
   */
  write(piece: PieceReceived): Promise<void>
  /** Called whenever a piece has come, by this process or another. Returns how to stop listening. */
  onPiece(listener: (index: number) => void): () => void
}
