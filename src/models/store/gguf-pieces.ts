import { ShoalError } from '../../common/index.ts'
import type { PieceReceived, PieceSource } from '../contract.ts'
import { contentReader, type Manifest, pieceTableOf } from '../manifest.ts'
import type { ModelFile } from '../model-file.ts'
import type { PieceTable } from '../pieces.ts'

/** A model's pieces out of GGUF files on this machine, which are left as they are. */
export class GgufPieces implements PieceSource {
  readonly kind = 'file'
  readonly #model: ModelFile
  readonly #table: PieceTable
  readonly #read: ReturnType<typeof contentReader>

  /** The model stays open until this is closed. `manifest`: where it is to be another one of the same model. */
  constructor(model: ModelFile, manifest: Manifest = model.manifest) {
    this.#model = model
    this.#table = pieceTableOf(manifest)
    this.#read = contentReader(model.gguf)
  }

  get name(): string {
    return this.#model.path
  }

  has(index: number): boolean {
    return index < this.#table.count
  }

  async fetch(
    indices: readonly number[],
    onPiece: (piece: PieceReceived) => void,
    signal: AbortSignal
  ): Promise<void> {
    for (const index of indices) {
      signal.throwIfAborted()
      onPiece({ index, bytes: await this.#readPiece(index, signal) })
    }
  }

  async #readPiece(index: number, signal: AbortSignal): Promise<Uint8Array> {
    const { item, offset, byteLength } = this.#table.at(index)
    try {
      return await this.#read(item, offset, byteLength, signal)
    } catch (cause) {
      signal.throwIfAborted()
      const message = `${this.name} is not the model any more: ${(cause as Error).message}`
      throw new ShoalError('SOURCE', message, { cause })
    }
  }

  async close(): Promise<void> {
    await this.#model.close()
  }
}
