import { randomUUID } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, readRange, ShoalError } from '../../common/index.ts'
import type { ContentItem, PartName } from '../content.ts'
import type { PieceReceived, StoredModel } from '../contract.ts'
import type { Manifest } from '../manifest.ts'
import { countBits, isSet, setBit } from './bits.ts'
import { currentBoot, isSameBoot } from './boot.ts'
import { storeError } from './errors.ts'
import { Layout, type PartLayout, positionOf } from './layout.ts'
import { OpenFiles } from './open-files.ts'
import type { PartRow, StoreRecord } from './record.ts'
import type { Space } from './space.ts'

/** A part that is written to is kept for so long after its last piece. */
const WRITING_MS = 60_000
/** How exactly it is known when something was used last. */
const USED_MS = 60_000

export interface ModelComponents {
  readonly record: StoreRecord
  readonly space: Space
  readonly clock: Clock
  /** Asks whether other processes have written, and has all models look. */
  readonly look: () => void
}

export class ModelOnDisk implements StoredModel {
  readonly manifest: Manifest
  readonly layout: Layout
  readonly folder: string
  readonly #record: StoreRecord
  readonly #space: Space
  readonly #clock: Clock
  readonly #look: () => void
  readonly #boot = currentBoot()
  readonly #listeners = new Set<(index: number) => void>()
  readonly #writing = { lease: randomUUID(), until: new Map<PartName, number>() }
  readonly #usedAt = new Map<PartName, number>()
  /** Written, and about to be noted. */
  readonly #unnoted = new Map<
    PartLayout,
    { readonly indices: number[]; readonly noted: Promise<Uint8Array> }
  >()
  readonly #readFiles = new OpenFiles('r')
  /** As long as their parts are kept from being dropped. */
  readonly #written = new OpenFiles('r+')
  #bits: Uint8Array

  constructor({ record, space, clock, look }: ModelComponents, manifest: Manifest, folder: string) {
    this.manifest = manifest
    this.folder = folder
    this.layout = new Layout(manifest)
    this.#record = record
    this.#space = space
    this.#clock = clock
    this.#look = look
    this.#bits = this.#bitsNoted()
  }

  has(index: number): boolean {
    return isSet(this.#bits, index)
  }

  get bitfield(): Uint8Array {
    this.#look()
    return this.#bits.slice()
  }

  missing(parts: ReadonlySet<PartName>): number[] {
    this.#look()
    const indices: number[] = []
    for (const part of this.layout.parts.values()) {
      if (!parts.has(part.name)) continue
      for (let at = 0; at < part.pieceCount; at++) {
        if (!this.has(part.firstPiece + at)) indices.push(part.firstPiece + at)
      }
    }
    return indices
  }

  async read(index: number, signal?: AbortSignal): Promise<Uint8Array> {
    if (!this.has(index)) throw new ShoalError('PIECE', `Piece ${index} of the model is not there.`)
    const { part, position, byteLength } = this.layout.at(index)
    this.#use(part.name)
    let bytes: Uint8Array | undefined
    try {
      bytes = await this.#readFile(part, position, byteLength, signal)
    } catch (error) {
      const isGone = error instanceof RangeError || (error as NodeJS.ErrnoException).code === 'ENOENT'
      if (!isGone) throw storeError(error, this.path(part))
    }
    if (bytes !== undefined && this.isIntact(index, bytes)) return bytes
    this.#change(part, (bits) => setBit(bits, index - part.firstPiece, false))
    this.refresh()
    throw new ShoalError(
      'PIECE',
      `Piece ${index} of the model is damaged on disk: it is to be fetched again.`
    )
  }

  async write({ index, bytes }: PieceReceived): Promise<void> {
    const isPiece = Number.isInteger(index) && index >= 0 && index < this.layout.table.count
    if (!isPiece || !this.isIntact(index, bytes)) {
      throw new ShoalError('PIECE', `Piece ${index} of the model came damaged, or is none of it.`)
    }
    if (this.has(index)) return
    const { part, position } = this.layout.at(index)
    this.#keepWhileWriting(part)
    try {
      await this.#written.use(this.path(part), async (file) => {
        for (let done = 0; done < bytes.byteLength; ) {
          done += (await file.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten
        }
      })
    } catch (error) {
      this.#stopWriting(part.name) // its file may be gone: it is made anew
      throw storeError(error, this.path(part))
    }
    const bits = await this.#noteSoon(part, index)
    this.#mark(index)
    if (countBits(bits) < part.pieceCount) return
    this.#stopWriting(part.name)
    this.#record.run('deletePartOfLease', this.#writing.lease, this.manifest.id, part.name)
    await this.sync(part)
  }

  onPiece(listener: (index: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** As far as can be known: of a manifest without hashes, whatever is as long as the piece. */
  isIntact(index: number, bytes: Uint8Array): boolean {
    const { pieces } = this.manifest
    return pieces?.isIntact(index, bytes) ?? this.layout.table.at(index).byteLength === bytes.byteLength
  }

  path({ file }: PartLayout): string {
    return join(this.folder, file)
  }

  /** From an item's place in the content, for those who read tensors; its pieces have to be there. */
  async readContent(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const item = this.manifest.items.findLast((candidate) => candidate.offset <= offset) as ContentItem
    const part = this.layout.parts.get(item.part) as PartLayout
    return this.#readFile(part, positionOf(part, item) + offset - item.offset, length, signal)
  }

  async #readFile(
    part: PartLayout,
    position: number,
    length: number,
    signal?: AbortSignal
  ): Promise<Uint8Array> {
    signal?.throwIfAborted()
    return this.#readFiles.use(this.path(part), (file) => readRange(file, position, length))
  }

  /** It is not kept from being dropped any more, so that its file may become another. */
  #stopWriting(name: PartName): void {
    this.#writing.until.delete(name)
    const part = this.layout.parts.get(name)
    if (part !== undefined) this.#written.forget(this.path(part))
  }

  /** Of which it is not sure that all that was noted is there: they were written to before the machine's last start. */
  doubtfulParts(): PartLayout[] {
    return this.#record.parts(this.manifest.id).flatMap(({ boot, part }) => {
      const layout = this.layout.parts.get(part as PartName)
      return boot === null || isSameBoot(boot, this.#boot) || layout === undefined ? [] : [layout]
    })
  }

  /** Whether it has a file. */
  isKept(part: PartLayout): boolean {
    return this.#record.part(this.manifest.id, part.name) !== undefined
  }

  /** Notes what checking a part has shown of some of its pieces. */
  noteChecked(part: PartLayout, pieces: ReadonlyMap<number, boolean>): void {
    this.#change(part, (bits) => {
      for (const [index, isThere] of pieces) setBit(bits, index - part.firstPiece, isThere)
    })
  }

  /** After this, what is noted of the part survives the machine, too. */
  async sync(part: PartLayout): Promise<void> {
    const { id } = this.manifest
    const row = this.#record.part(id, part.name)
    if (row === undefined || row.boot === null) return
    try {
      const file = await open(this.path(part), 'r+')
      try {
        await file.sync()
      } finally {
        await file.close()
      }
    } catch (error) {
      throw storeError(error, this.path(part))
    }
    this.#record.run('settle', id, part.name, row.pieces) // not if others have noted more meanwhile
  }

  /** Reads the record again, and tells of pieces that others wrote. */
  refresh(): void {
    const before = this.#bits
    this.#bits = this.#bitsNoted()
    for (const part of this.#writing.until.keys()) {
      if (this.#record.part(this.manifest.id, part) === undefined) this.#stopWriting(part)
    }
    if (this.#listeners.size === 0) return
    for (let index = 0; index < this.layout.table.count; index++) {
      if (this.has(index) && !isSet(before, index)) this.#tell(index)
    }
  }

  /** Syncs what was written here. */
  async close(): Promise<void> {
    for (const name of this.#writing.until.keys()) {
      await this.sync(this.layout.parts.get(name) as PartLayout).catch(() => {}) // verified after a crash, then
    }
    await Promise.all([this.#readFiles.close(), this.#written.close()])
  }

  #mark(index: number): void {
    if (this.has(index)) return
    setBit(this.#bits, index, true)
    this.#tell(index)
  }

  #tell(index: number): void {
    for (const listener of this.#listeners) listener(index)
  }

  #bitsNoted(): Uint8Array {
    const bits = new Uint8Array(Math.ceil(this.layout.table.count / 8))
    for (const row of this.#record.parts(this.manifest.id)) {
      const part = this.layout.parts.get(row.part as PartName)
      if (part === undefined || !fits(row, part)) continue
      for (let at = 0; at < part.pieceCount; at++) {
        if (isSet(row.pieces, at)) setBit(bits, part.firstPiece + at, true)
      }
    }
    return bits
  }

  /**
   * Returns all that is noted of the part then. The writer's lease is gone where the part was dropped after all, such as
   * while the machine slept, and its file may be another; and where the part is complete, since others had this piece.
   */
  #note(part: PartLayout, indices: readonly number[]): Uint8Array {
    const { id } = this.manifest
    return this.#change(part, (bits) => {
      const others = indices.filter((index) => !isSet(bits, index - part.firstPiece))
      if (others.length === 0) return
      if (this.#record.all('leased', this.#writing.lease, id, part.name).length === 0)
        throw this.#dropped(part)
      for (const index of others) setBit(bits, index - part.firstPiece, true)
    })
  }

  /** With the part's other pieces that were written at this moment: a transaction takes longer than a small piece. */
  #noteSoon(part: PartLayout, index: number): Promise<Uint8Array> {
    const group = this.#unnoted.get(part)
    if (group !== undefined) {
      group.indices.push(index)
      return group.noted
    }
    const indices = [index]
    const { promise: noted, resolve, reject } = Promise.withResolvers<Uint8Array>()
    this.#unnoted.set(part, { indices, noted })
    setImmediate(() => {
      this.#unnoted.delete(part)
      try {
        resolve(this.#note(part, indices))
      } catch (error) {
        reject(error)
      }
    })
    return noted
  }

  /** Changes which pieces of a part are noted, whoever else notes some, and returns them. */
  #change(part: PartLayout, change: (bits: Uint8Array) => void): Uint8Array {
    const { id } = this.manifest
    return this.#record.transaction(() => {
      const row = this.#record.part(id, part.name)
      if (row === undefined) throw this.#dropped(part)
      const bits = fits(row, part) ? row.pieces.slice() : new Uint8Array(Math.ceil(part.pieceCount / 8))
      change(bits)
      this.#record.run('setPieces', bits, this.#boot, id, part.name)
      return bits
    })
  }

  #dropped({ name }: PartLayout): ShoalError {
    this.#stopWriting(name)
    return new ShoalError('PIECE', 'The part was dropped from the store meanwhile: fetch it again.')
  }

  #keepWhileWriting(part: PartLayout): void {
    const now = this.#clock.wall()
    const before = this.#writing.until.get(part.name) ?? 0
    if (before > now + WRITING_MS / 2) return
    if (before < now) this.#stopWriting(part.name)
    const until = now + WRITING_MS
    this.#space.reserve(this.manifest.id, [part], { id: this.#writing.lease, until })
    this.#writing.until.set(part.name, until)
  }

  #use(part: PartName): void {
    const now = this.#clock.wall()
    if (now - (this.#usedAt.get(part) ?? Number.NEGATIVE_INFINITY) < USED_MS) return
    this.#usedAt.set(part, now)
    this.#record.run('touch', now, this.manifest.id, part)
  }
}

function fits({ pieces }: PartRow, { pieceCount }: PartLayout): boolean {
  return pieces.byteLength === Math.ceil(pieceCount / 8)
}
