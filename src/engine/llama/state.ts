/**
 * Checks a saved sequence before llama.cpp reads it. llama.cpp takes memory for as many cells as the bytes claim
 * (all there is, and the system ends the process), and a position that is too high can never be removed again.
 * What it compares by itself (types, row sizes, layers) is left to it.
 */
import { EngineError } from '../errors.ts'

/** Walks over `llama_kv_cache::state_write`'s format. */
class StateReader {
  readonly #view: DataView
  #offset = 0

  constructor(state: Uint8Array) {
    this.#view = new DataView(state.buffer, state.byteOffset, state.byteLength)
  }

  get atEnd(): boolean {
    return this.#offset === this.#view.byteLength
  }

  skip(bytes: number): number {
    const start = this.#offset
    if (!(bytes <= this.#view.byteLength - start)) fail('it ends early')
    this.#offset += bytes
    return start
  }

  u32(): number {
    return this.#view.getUint32(this.skip(4), true)
  }

  u64(): number {
    return Number(this.#view.getBigUint64(this.skip(8), true))
  }
}

function fail(why: string): never {
  throw new EngineError('INPUT', `The saved state does not fit: ${why}.`)
}

/** Throws unless the state is one of `length` positions, and nothing else. */
export function checkState(state: Uint8Array, length: number): void {
  const reader = new StateReader(state)
  reader.skip(8) // magic and the sequence that it was
  const cells = readCache(reader, length)
  if (cells !== length) fail(`${cells} positions for ${length} ids`)
  if (!reader.atEnd) readCache(reader, length) // of the blocks with a sliding window, which may have forgotten some
  if (!reader.atEnd) fail('it goes on after its end')
}

function readCache(reader: StateReader, length: number): number {
  if (reader.u32() !== 1) fail('it is of another kind of cache')
  const cells = reader.u32()
  if (cells > length) fail(`${cells} positions for ${length} ids`)
  if (cells === 0) return 0
  const seen = new Set<number>()
  for (let cell = 0; cell < cells; cell++) {
    const position = reader.u32()
    if (position >= length || seen.has(position)) fail(`position ${position} of ${length}`)
    seen.add(position)
    reader.skip(8) // how many sequences had the cell, and which
  }
  if (!seen.has(length - 1)) fail('its last position is missing')
  const isTransposed = reader.u32() !== 0
  const layers = reader.u32()
  skipLayers(reader, layers, cells, false)
  skipLayers(reader, layers, cells, isTransposed)
  return cells
}

function skipLayers(reader: StateReader, layers: number, cells: number, isTransposed: boolean): void {
  for (let layer = 0; layer < layers; layer++) {
    reader.skip(4) // type
    const bytes = isTransposed ? reader.u32() * reader.u32() : reader.u64()
    reader.skip(bytes * cells)
  }
}
