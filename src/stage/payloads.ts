/** The rows' payloads of a replay log: the newest in memory, the oldest in a file. */
import type { RowTable } from './row-table.ts'
import { SpillFile } from './spill-file.ts'

/** About 2,000 tokens of a model of width 2,048: most conversations never touch the disk. */
const DEFAULT_MEMORY_BYTES = 16 * 1024 * 1024
/** Large enough that the disk is written in long stretches, small enough to read one back while a frame waits. */
const CHUNK_BYTES = 256 * 1024
/** Of a small memory: the chunk being filled stays there, and must leave place for others. */
const LEAST_CHUNKS = 4

export interface PayloadsInit {
  /** Payload bytes per row; 0 where there are none. */
  readonly rowBytes: number
  /** Payload bytes kept in memory before the oldest go to disk; 16 MiB if not given. */
  readonly memoryBytes?: number
  /** Where the file is created when it is needed; undefined: all rows stay in memory. */
  readonly folder?: string | undefined
  /** How the file is created; for tests. */
  readonly createFile?: (folder: string) => Promise<SpillFile>
}

/**
 * Above `memoryBytes`, the oldest rows are written to the file in the background; until that is done they take
 * memory. Rows that can't be written are lost, and only they: the table is told.
 */
export class Payloads {
  /** The last error of the disk, the cause of rows being lost. */
  failure: unknown
  readonly #init: PayloadsInit
  readonly #table: RowTable
  readonly #rowBytes: number
  readonly #memoryBytes: number
  readonly #rowsPerChunk: number
  /** Payloads of `#rowsPerChunk` rows each; undefined: in the file, at the first row's position x `rowBytes`. */
  #chunks: (Uint8Array | undefined)[] = []
  #chunksInMemory = 0
  #file: SpillFile | undefined
  #reads = new Set<Promise<void>>()
  #isSpilling = false
  #spilling: Promise<void> | undefined
  /** What was cut back to since the write under way began. */
  #cutDuringWrite = Number.POSITIVE_INFINITY

  constructor(init: PayloadsInit, table: RowTable) {
    this.#init = init
    this.#table = table
    this.#rowBytes = init.rowBytes
    this.#memoryBytes = init.memoryBytes ?? DEFAULT_MEMORY_BYTES
    const chunkBytes = Math.min(CHUNK_BYTES, this.#memoryBytes / LEAST_CHUNKS)
    this.#rowsPerChunk = Math.max(1, Math.floor(chunkBytes / Math.max(1, init.rowBytes)))
  }

  /** Bytes of the buffers in memory. */
  get bytesUsed(): number {
    return this.#chunksInMemory * this.#rowsPerChunk * this.#rowBytes
  }

  /** Copies the payload of rows `from` on, which follow those that are here. */
  store(from: number, payload: Uint8Array): void {
    if (this.#rowBytes === 0) return
    const to = from + payload.byteLength / this.#rowBytes
    this.#eachChunk(from, to, (index, first, end) => {
      const part = payload.subarray((first - from) * this.#rowBytes, (end - from) * this.#rowBytes)
      this.#writable(index, first).set(part, (first - index * this.#rowsPerChunk) * this.#rowBytes)
    })
  }

  /** Has rows written to the file if memory holds too many. To be called when the table knows all that are stored. */
  spill(): void {
    const { folder } = this.#init
    if (folder === undefined || this.#isSpilling || this.bytesUsed <= this.#memoryBytes) return
    this.#spilling = this.#spill(folder)
  }

  /** Forgets the rows from `length` on. */
  truncate(length: number): void {
    this.#cutDuringWrite = Math.min(this.#cutDuringWrite, length)
    const forgotten = this.#chunks.splice(Math.ceil(length / this.#rowsPerChunk))
    this.#chunksInMemory -= forgotten.filter((chunk) => chunk !== undefined).length
  }

  /** Fills `target` with the payload of the rows from `from` on. Undefined: done; rejects if the file can't be read. */
  load(from: number, target: Uint8Array): Promise<void> | undefined {
    if (this.#rowBytes === 0) return undefined
    const missing: [target: Uint8Array, offset: number][] = []
    this.#eachChunk(from, from + target.byteLength / this.#rowBytes, (index, first, end) => {
      const part = target.subarray((first - from) * this.#rowBytes, (end - from) * this.#rowBytes)
      const chunk = this.#chunks[index]
      const start = (first - index * this.#rowsPerChunk) * this.#rowBytes
      if (chunk === undefined) missing.push([part, first * this.#rowBytes])
      else part.set(chunk.subarray(start, start + part.byteLength))
    })
    if (missing.length === 0) return undefined
    const reading = this.#fetch(missing).finally(() => this.#reads.delete(reading))
    this.#reads.add(reading)
    return reading
  }

  /** Frees memory and file; reads under way may reject. Never rejects itself. */
  async close(): Promise<void> {
    this.truncate(0)
    await this.#spilling
    await this.#file?.close()
  }

  /** The rows `[from, to)` by chunk. */
  #eachChunk(from: number, to: number, visit: (index: number, from: number, to: number) => void): void {
    for (let row = from; row < to; ) {
      const index = Math.floor(row / this.#rowsPerChunk)
      const end = Math.min(to, (index + 1) * this.#rowsPerChunk)
      visit(index, row, end)
      row = end
    }
  }

  /** The chunk in memory, with its rows before `position`: after a truncation they may be in the file. */
  #writable(index: number, position: number): Uint8Array {
    const start = index * this.#rowsPerChunk
    const known = this.#chunks[index]
    if (known !== undefined) return known
    const chunk = new Uint8Array(this.#rowsPerChunk * this.#rowBytes)
    this.#chunks[index] = chunk
    this.#chunksInMemory++
    // A chunk is lost as a whole, so lost rows are never behind kept ones.
    if (position === start || this.#table.isLost(position - 1)) return chunk
    try {
      this.#file!.readNow(chunk.subarray(0, (position - start) * this.#rowBytes), start * this.#rowBytes)
    } catch (error) {
      this.failure = error
      this.#table.lose(start, position)
    }
    return chunk
  }

  async #fetch(missing: readonly [Uint8Array, number][]): Promise<void> {
    for (const [target, offset] of missing) await this.#file!.read(target, offset)
  }

  /** Writes the oldest chunks until the rest is few enough. Never rejects. */
  async #spill(folder: string): Promise<void> {
    this.#isSpilling = true
    while (this.bytesUsed > this.#memoryBytes) {
      // Always a full one: the last, being filled, takes a part of the memory only and is not alone here.
      const index = this.#chunks.findIndex((chunk) => chunk !== undefined)
      const start = index * this.#rowsPerChunk
      const end = start + this.#rowsPerChunk
      this.#cutDuringWrite = Number.POSITIVE_INFINITY
      const isWritten = await this.#write(folder, this.#chunks[index]!, start)
      // Rewritten meanwhile: the file has a mixture, memory has what counts.
      if (this.#cutDuringWrite < end) continue
      if (!isWritten) this.#table.lose(start, end)
      this.#chunks[index] = undefined
      this.#chunksInMemory--
    }
    this.#isSpilling = false
  }

  async #write(folder: string, chunk: Uint8Array, start: number): Promise<boolean> {
    try {
      this.#file ??= await (this.#init.createFile ?? SpillFile.create)(folder)
      // Reads that began while the file had earlier rows at these positions must not see the new ones.
      await Promise.allSettled(this.#reads)
      await this.#file.write(chunk, start * this.#rowBytes)
      return true
    } catch (error) {
      this.failure = error
      return false
    }
  }
}
