// What a hop has sent in a session, kept until the session ends (as a TCP sender keeps its window): when the
// next hop's machine dies, whoever takes its place is given all of it. See DESIGN 4, "recovery is replay".
import { randomUUID } from 'node:crypto'
import { readSync } from 'node:fs'
import { type FileHandle, mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ShoalError } from '../common/index.ts'
import type { Frame, FrameCodec, SampleMode } from '../net/index.ts'
import type { FrameState } from './frames.ts'

/** About 2,000 tokens of a model of width 2,048: most conversations never touch the disk. */
const DEFAULT_MEMORY_BYTES = 16 * 1024 * 1024
/** Large enough that the disk is written in long stretches, small enough to read one back while a frame waits. */
const CHUNK_BYTES = 256 * 1024
/** Of a small memory: the chunk being filled stays there, and must leave place for others. */
const LEAST_CHUNKS = 4
const FIRST_ROWS = 256
const DRAW = 1
const LOST = 2

/** Thrown when rows are asked for that could not be kept: the disk was full, say. The hop before has them. */
export class ReplayLostError extends ShoalError {
  declare readonly code: 'REPLAY_LOST'
  /** The first of the rows that were asked for. */
  readonly position: number

  constructor(position: number, options?: ErrorOptions) {
    const message = `the rows at position ${position} were not kept: free disk space, or ask the hop before`
    super('REPLAY_LOST', message, options)
    this.position = position
  }
}

/**
 * A file without a name: it has a conversation's hidden states, which others must not read and which must not
 * survive a crash.
 */
export class SpillFile {
  readonly #handle: FileHandle
  /** Where the platform does not unlink open files. */
  readonly #path: string | undefined

  constructor(handle: FileHandle, path?: string) {
    this.#handle = handle
    this.#path = path
  }

  static async create(folder: string): Promise<SpillFile> {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const path = join(folder, `${randomUUID()}.replay`)
    const handle = await open(path, 'wx+', 0o600)
    const isUnlinked = await unlink(path).then(
      () => true,
      () => false
    )
    return new SpillFile(handle, isUnlinked ? undefined : path)
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const left = bytes.byteLength - done
      done += atLeastOne((await this.#handle.write(bytes, done, left, offset + done)).bytesWritten)
    }
  }

  async read(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const left = bytes.byteLength - done
      done += atLeastOne((await this.#handle.read(bytes, done, left, offset + done)).bytesRead)
    }
  }

  readNow(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.byteLength; ) {
      done += atLeastOne(readSync(this.#handle.fd, bytes, done, bytes.byteLength - done, offset + done))
    }
  }

  /** Waits for what is under way. Never rejects: what the file had is not needed any more. */
  async close(): Promise<void> {
    await this.#handle.close().catch(() => {})
    if (this.#path !== undefined) await unlink(this.#path).catch(() => {})
  }
}

function atLeastOne(bytes: number): number {
  if (bytes === 0) throw new Error('the file took or gave no more bytes')
  return bytes
}

/** What is known of each row beside its payload; 9 bytes per row, always in memory. */
class RowTable {
  tokens = new Int32Array(FIRST_ROWS)
  epochs = new Uint32Array(FIRST_ROWS)
  flags = new Uint8Array(FIRST_ROWS)

  reserve(rows: number): void {
    if (rows <= this.tokens.length) return
    const { tokens, epochs, flags } = this
    const capacity = Math.max(rows, 2 * tokens.length)
    this.tokens = new Int32Array(capacity)
    this.epochs = new Uint32Array(capacity)
    this.flags = new Uint8Array(capacity)
    this.tokens.set(tokens)
    this.epochs.set(epochs)
    this.flags.set(flags)
  }
}

export interface ReplayLogInit {
  /** What frames are given out in. */
  readonly codec: FrameCodec
  /** Payload bytes per row; 0 for codec `none`. */
  readonly rowBytes: number
  /** Payload bytes kept in memory before the oldest go to disk; 16 MiB if not given. */
  readonly memoryBytes?: number
  /** Where the file is created when it is needed; undefined: all rows stay in memory. */
  readonly folder?: string | undefined
  /** How the file is created; for tests. */
  readonly createFile?: (folder: string) => Promise<SpillFile>
}

/**
 * The rows `[0, length)` that a hop sent. Above `memoryBytes`, the oldest are written to a file in the background;
 * until that is done they take memory. Rows that can't be written are lost, and only they.
 */
export class ReplayLog {
  readonly #init: ReplayLogInit
  readonly #memoryBytes: number
  readonly #rowsPerChunk: number
  #rows = new RowTable()
  #length = 0
  /** Payloads of `#rowsPerChunk` rows each; undefined: in the file, at the first row's position x `rowBytes`. */
  #chunks: (Uint8Array | undefined)[] = []
  #chunksInMemory = 0
  #file: SpillFile | undefined
  #reads = new Set<Promise<Frame>>()
  #isSpilling = false
  #spilling: Promise<void> | undefined
  /** What the log was cut back to since the write under way began. */
  #cutDuringWrite = Number.POSITIVE_INFINITY
  /** The last error of the disk, the cause of rows being lost. */
  #failure: unknown
  #closing: Promise<void> | undefined

  constructor(init: ReplayLogInit) {
    this.#init = init
    this.#memoryBytes = init.memoryBytes ?? DEFAULT_MEMORY_BYTES
    const chunkBytes = Math.min(CHUNK_BYTES, this.#memoryBytes / LEAST_CHUNKS)
    this.#rowsPerChunk = Math.max(1, Math.floor(chunkBytes / Math.max(1, init.rowBytes)))
  }

  /** Rows in the log. */
  get length(): number {
    return this.#length
  }

  /** Bytes of the payload buffers in memory. */
  get memoryBytesUsed(): number {
    return this.#chunksInMemory * this.#rowsPerChunk * this.#init.rowBytes
  }

  /** Copies the frame's rows. A frame that does not follow the last row is the programmer's mistake. */
  append(frame: Frame): void {
    const { epoch, position, tokens, payload, sample } = frame
    const end = position + tokens.length
    if (this.#closing !== undefined) throw new Error('the log is closed')
    if (position !== this.#length) throw new Error(`a frame at ${position} in a log of ${this.#length} rows`)
    if (payload.byteLength !== tokens.length * this.#init.rowBytes) {
      throw new Error(`${payload.byteLength} bytes for ${tokens.length} rows of ${this.#init.rowBytes} bytes`)
    }
    if (position > 0 && epoch < this.#rows.epochs[position - 1]!) throw new Error(`epoch ${epoch} went back`)
    if (this.#init.rowBytes > 0) this.#store(position, end, payload)
    this.#rows.reserve(end)
    this.#rows.tokens.set(tokens, position)
    this.#rows.epochs.fill(epoch, position, end)
    this.#rows.flags.fill(sample === 'all' ? DRAW : 0, position, end)
    if (sample === 'last' && end > position) this.#rows.flags[end - 1] = DRAW
    this.#length = end
    const { folder } = this.#init
    if (folder === undefined || this.#isSpilling || this.memoryBytesUsed <= this.#memoryBytes) return
    this.#spilling = this.#spill(folder)
  }

  /** Forgets the rows from `length` on. */
  truncate(length: number): void {
    if (length >= this.#length) return
    this.#length = length
    this.#cutDuringWrite = Math.min(this.#cutDuringWrite, length)
    const forgotten = this.#chunks.splice(Math.ceil(length / this.#rowsPerChunk))
    this.#chunksInMemory -= forgotten.filter((chunk) => chunk !== undefined).length
  }

  /**
   * How many of the first rows a receiver has that holds `[0, state.length)` as of `state.epoch`: what was
   * rewritten in a later epoch is not what it has. May be more than this log's length.
   */
  held(state: FrameState): number {
    let low = 0
    let high = this.#length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#rows.epochs[middle]! > state.epoch) high = middle
      else low = middle + 1
    }
    return low === this.#length ? state.length : Math.min(state.length, low)
  }

  /**
   * Rows from `from` on, at least one and at most `most`, as they are at the time of the call. All are of one epoch,
   * and exactly those that a draw was asked for after, and which are not before `drawFrom`, are to be drawn after:
   * the frame ends where one sample mode can't say that. The payload is the caller's own.
   * Synchronous when all rows are in memory. Throws, or rejects with, {@link ReplayLostError}.
   */
  read(from: number, most: number, drawFrom: number): Frame | Promise<Frame> {
    const { codec, rowBytes } = this.#init
    if (!(from >= 0 && from < this.#length && most >= 1)) {
      throw new Error(`can't read ${most} rows at ${from} of a log of ${this.#length} rows`)
    }
    if (this.#rows.flags[from]! & LOST) throw new ReplayLostError(from, { cause: this.#failure })
    const { end, sample } = this.#cut(from, Math.min(this.#length, from + most), drawFrom)
    const epoch = this.#rows.epochs[from]!
    const tokens = this.#rows.tokens.slice(from, end)
    const payload = new Uint8Array(tokens.length * rowBytes)
    const frame: Frame = { epoch, position: from, tokens, sample, codec, payload }
    const missing = rowBytes === 0 ? [] : this.#load(frame, end)
    if (missing.length === 0) return frame
    const reading = this.#fetch(frame, missing).finally(() => this.#reads.delete(reading))
    this.#reads.add(reading)
    return reading
  }

  /** Frees memory and file; reads under way may reject. Never rejects itself. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.truncate(0)
    this.#rows = new RowTable()
    await this.#spilling
    await this.#file?.close()
  }

  /** How far one frame from `from` on can go, `limit` at most. */
  #cut(from: number, limit: number, drawFrom: number): { end: number; sample: SampleMode } {
    const { epochs, flags } = this.#rows
    const isDrawn = (row: number): boolean => row >= drawFrom && (flags[row]! & DRAW) !== 0
    const belongs = (row: number): boolean =>
      row < limit && epochs[row] === epochs[from] && (flags[row]! & LOST) === 0
    let end = from
    if (isDrawn(from)) {
      while (belongs(end) && isDrawn(end)) end++
      return { end, sample: end - from === 1 ? 'last' : 'all' }
    }
    while (belongs(end) && !isDrawn(end)) end++
    return belongs(end) ? { end: end + 1, sample: 'last' } : { end, sample: 'none' }
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

  #store(from: number, to: number, payload: Uint8Array): void {
    const { rowBytes } = this.#init
    this.#eachChunk(from, to, (index, first, end) => {
      const part = payload.subarray((first - from) * rowBytes, (end - from) * rowBytes)
      this.#writable(index, first).set(part, (first - index * this.#rowsPerChunk) * rowBytes)
    })
  }

  /** The chunk in memory, with its rows before `position`: after a truncation they may be in the file. */
  #writable(index: number, position: number): Uint8Array {
    const { rowBytes } = this.#init
    const start = index * this.#rowsPerChunk
    const known = this.#chunks[index]
    if (known !== undefined) return known
    const chunk = new Uint8Array(this.#rowsPerChunk * rowBytes)
    this.#chunks[index] = chunk
    this.#chunksInMemory++
    // A chunk is lost as a whole, so lost rows are never behind kept ones.
    if (position === start || this.#rows.flags[position - 1]! & LOST) return chunk
    try {
      this.#file!.readNow(chunk.subarray(0, (position - start) * rowBytes), start * rowBytes)
    } catch (error) {
      this.#failure = error
      this.#lose(start, position)
    }
    return chunk
  }

  /** Copies into the frame what is in memory of its rows, and says where the others are. */
  #load(frame: Frame, to: number): [number, number][] {
    const { rowBytes } = this.#init
    const missing: [number, number][] = []
    this.#eachChunk(frame.position, to, (index, first, end) => {
      const chunk = this.#chunks[index]
      const start = index * this.#rowsPerChunk
      if (chunk === undefined) missing.push([first, end])
      else {
        const part = chunk.subarray((first - start) * rowBytes, (end - start) * rowBytes)
        frame.payload.set(part, (first - frame.position) * rowBytes)
      }
    })
    return missing
  }

  async #fetch(frame: Frame, missing: readonly [number, number][]): Promise<Frame> {
    const { rowBytes } = this.#init
    const at = (row: number): number => (row - frame.position) * rowBytes
    try {
      for (const [first, end] of missing) {
        await this.#file!.read(frame.payload.subarray(at(first), at(end)), first * rowBytes)
      }
    } catch (error) {
      throw new ReplayLostError(frame.position, { cause: error })
    }
    return frame
  }

  /** Writes the oldest chunks until the rest is few enough. Never rejects. */
  async #spill(folder: string): Promise<void> {
    this.#isSpilling = true
    while (this.memoryBytesUsed > this.#memoryBytes) {
      // Always a full one: the last, being filled, takes a part of the memory only and is not alone here.
      const index = this.#chunks.findIndex((chunk) => chunk !== undefined)
      const start = index * this.#rowsPerChunk
      const end = start + this.#rowsPerChunk
      this.#cutDuringWrite = Number.POSITIVE_INFINITY
      const isWritten = await this.#write(folder, this.#chunks[index]!, start)
      // Rewritten meanwhile: the file has a mixture, memory has what counts.
      if (this.#cutDuringWrite < end) continue
      if (!isWritten) this.#lose(start, end)
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
      await this.#file.write(chunk, start * this.#init.rowBytes)
      return true
    } catch (error) {
      this.#failure = error
      return false
    }
  }

  #lose(from: number, to: number): void {
    for (let row = from; row < to; row++) this.#rows.flags[row]! |= LOST
  }
}
