import { ShoalError } from '../common/index.ts'
import type { PieceReceived, StoredModel } from './contract.ts'
import { contentReader, type Manifest, pieceTableOf } from './manifest.ts'
import type { ModelFile } from './model-file.ts'

/** All of a model in GGUF files of this machine: others are given pieces of it, and nothing is stored a second time. */
export class WholeFile implements StoredModel {
  readonly model: ModelFile
  readonly manifest: Manifest
  readonly #read: ReturnType<typeof contentReader>

  /** It stays open until this is closed. */
  constructor(model: ModelFile) {
    this.model = model
    this.manifest = model.manifest
    this.#read = contentReader(model.gguf)
  }

  has(index: number): boolean {
    return index >= 0 && index < pieceTableOf(this.manifest).count
  }

  get bitfield(): Uint8Array {
    const { count } = pieceTableOf(this.manifest)
    const bits = new Uint8Array(Math.ceil(count / 8)).fill(0xff)
    if (count % 8 > 0) bits[bits.length - 1] = (0xff00 >> (count % 8)) & 0xff
    return bits
  }

  missing(): number[] {
    return []
  }

  /** Throws a ShoalError PIECE where the file has changed since it was hashed. */
  async read(index: number, signal?: AbortSignal): Promise<Uint8Array> {
    const { item, offset, byteLength } = pieceTableOf(this.manifest).at(index)
    const bytes = await this.#read(item, offset, byteLength, signal)
    if (this.manifest.pieces?.isIntact(index, bytes)) return bytes
    throw new ShoalError('PIECE', `${this.model.path} has changed: start the node again.`)
  }

  async write({ index }: PieceReceived): Promise<void> {
    throw new ShoalError('PIECE', `Piece ${index} is there already.`)
  }

  onPiece(): () => void {
    return () => {}
  }

  async close(): Promise<void> {
    await this.model.close()
  }
}
