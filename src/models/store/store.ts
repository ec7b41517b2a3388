import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { mkdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, makeFolder, ShoalError, systemClock } from '../../common/index.ts'
import { type PartName, partsOf } from '../content.ts'
import type { Manifest } from '../manifest.ts'
import { isSet } from './bits.ts'
import { storeError } from './errors.ts'
import { readManifestOf, writeWhole } from './files.ts'
import { Holder } from './holders.ts'
import { takeLock } from './locks.ts'
import { openRecord } from './open-record.ts'
import { isModelId, reconcile } from './reconcile.ts'
import type { StoreRecord } from './record.ts'
import { type Lease, Space } from './space.ts'
import { type BlockRange, checkComplete, StoredSpan } from './span.ts'
import { ModelOnDisk } from './stored-model.ts'
import { type ModelSummary, summaryOf } from './summary.ts'
import { type VerifyOptions, verifyParts } from './verify.ts'

/** How soon it is seen what other processes fetched. */
const LOOK_MS = 500

export interface StoreComponents {
  readonly clock?: Clock
}

export interface StoreInit {
  readonly folder: string
  /** Bytes of all parts; default: no bound but the disk's. */
  readonly quota?: number | undefined
  readonly report?: ((message: string) => void) | undefined
}

export interface StoredSpanOptions extends VerifyOptions {
  /** For `certify`: what nobody has compared with the whole model yet. */
  readonly allowUncertified?: boolean
}

export interface VerifyReport {
  /** That were read. */
  readonly bytes: number
  /** Pieces that were noted and are damaged or gone: they count as missing from now on. */
  readonly bad: readonly number[]
}

interface Opened {
  readonly clock: Clock
  readonly record: StoreRecord
  readonly holder: Holder
}

export class Store {
  readonly #models: string
  readonly #locks: string
  readonly #clock: Clock
  readonly #record: StoreRecord
  readonly #holder: Holder
  readonly #space: Space
  readonly #open = new Map<string, ModelOnDisk>()
  readonly #report: StoreInit['report']
  #stopLooking: () => void = () => {}
  #isClosed = false

  private constructor({ clock, record, holder }: Opened, { folder, quota, report }: StoreInit) {
    this.#report = report
    this.#models = join(folder, 'models')
    this.#locks = join(folder, 'locks')
    this.#clock = clock
    this.#record = record
    this.#holder = holder
    const init = { models: this.#models, onDropped: () => this.#refresh() }
    this.#space = new Space({ record, holder, clock }, init, quota)
    this.#lookLater()
  }

  /**
   * Makes the folder where there is none. Throws a ShoalError DISK where it can't be used, NEWER where a newer version
   * wrote it, DAMAGED where its record is damaged and others use it: otherwise it is made anew, from the files.
   */
  static async open(init: StoreInit, { clock = systemClock }: StoreComponents = {}): Promise<Store> {
    const { folder } = init
    const [models, locks] = [join(folder, 'models'), join(folder, 'locks')]
    try {
      for (const each of [models, locks]) makeFolder(each)
      const lock = await takeLock(join(locks, 'opening'))
      try {
        const record = openRecord(folder, locks, init.report)
        try {
          const holder = record.transaction(() => {
            const made = new Holder(record, locks)
            reconcile(record, made, models, clock.wall())
            return made
          })
          return new Store({ clock, record, holder }, init)
        } catch (error) {
          record.close()
          throw error
        }
      } finally {
        lock.release()
      }
    } catch (error) {
      throw storeError(error, folder)
    }
  }

  /** Counts from the next parts on that need room. Undefined: no bound but the disk's. */
  set quota(bytes: number | undefined) {
    this.#space.quota = bytes
  }

  /** Has nothing of it but the manifest yet. A listing that is given takes the place of one before. */
  async add(manifest: Manifest, listing?: Uint8Array): Promise<void> {
    const folder = this.#folder(manifest.id)
    const temporary = join(this.#models, this.#holder.temporaryName())
    try {
      if (!existsSync(folder)) {
        await mkdir(temporary)
        await writeWhole(join(temporary, 'manifest'), manifest.bytes)
        await rename(temporary, folder).catch((error) => {
          if (!existsSync(folder)) throw error
        })
      }
      await this.#write(manifest.id, 'manifest', manifest.bytes)
      if (listing !== undefined) await this.#write(manifest.id, 'listing', listing)
    } catch (error) {
      throw storeError(error, folder)
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }

  /**
   * Verifies first what was being written when the machine went down. Throws a ShoalError MODEL where there is none of
   * the id, MANIFEST where its manifest is damaged.
   */
  async get(id: string, options: VerifyOptions = {}): Promise<ModelOnDisk> {
    const model = await this.#model(id)
    const doubtful = model.doubtfulParts()
    if (doubtful.length > 0) await verifyParts(model, doubtful, options)
    return model
  }

  async listing(id: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(join(this.#folder(id), 'listing'))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw storeError(error, this.#folder(id))
    }
  }

  /** Models whose manifest can be read. */
  async list(): Promise<ModelSummary[]> {
    this.#look()
    const models = await Promise.allSettled(this.#ids().map((id) => this.#model(id)))
    return models.flatMap((model) =>
      model.status === 'fulfilled'
        ? [summaryOf(model.value, this.#record.parts(model.value.manifest.id))]
        : []
    )
  }

  /**
   * Keeps parts until it is released, and the room for them: for whoever fetches or serves them. Throws a ShoalError
   * QUOTA where there is none.
   */
  async lease(id: string, parts: ReadonlySet<PartName>): Promise<Lease> {
    const { layout } = await this.#model(id)
    const layouts = [...parts].flatMap((name) => layout.parts.get(name) ?? [])
    const lease = randomUUID()
    this.#space.reserve(id, layouts, { id: lease, until: null })
    return {
      release: () => {
        if (!this.#isClosed) this.#space.release(lease)
      }
    }
  }

  /**
   * Blocks for an engine, which `load` of what is returned opens. Throws a ShoalError INCOMPLETE where pieces are
   * missing, SPAN for blocks that the model does not have, and what slicing throws.
   */
  async span(id: string, range: BlockRange, options: StoredSpanOptions = {}): Promise<StoredSpan> {
    const model = await this.get(id, options)
    const { items, blockCount } = model.manifest
    if (!(range.start >= 0 && range.start < range.end && range.end <= blockCount)) {
      throw new ShoalError(
        'SPAN',
        `The model has the blocks 0 to ${blockCount}, not ${range.start} to ${range.end}.`
      )
    }
    const parts = partsOf(items, range, blockCount)
    checkComplete(model, parts)
    const lease = await this.lease(id, parts)
    const components = { model, lease, temporaryName: () => this.#holder.temporaryName() }
    const lock = this.#headersLock(id)
    try {
      const { allowUncertified = false } = options
      return await StoredSpan.plan(components, { range, parts, lock, allowUncertified })
    } catch (error) {
      lease.release()
      throw error
    }
  }

  /** Throws a ShoalError IN_USE while somebody uses it. */
  async remove(id: string): Promise<void> {
    const folder = this.#folder(id)
    const temporary = join(this.#models, this.#holder.temporaryName())
    this.#record.transaction(() => {
      this.#holder.sweep()
      const [user] = this.#space.usersOf(id)
      if (user !== undefined) {
        const who = user === this.#holder.id ? 'this node' : 'another Shoal process'
        throw new ShoalError('IN_USE', `The model ${id.slice(0, 12)} is in use by ${who}: stop that first.`)
      }
      this.#record.run('deletePartsOf', id)
      if (existsSync(folder)) renameSync(folder, temporary)
      rmSync(this.#headersLock(id), { force: true })
    })
    this.#open.get(id)?.refresh()
    this.#open.delete(id)
    await rm(temporary, { recursive: true, force: true })
  }

  /** Reads and hashes all that there is of a model, and mends what can be: what is damaged is to be fetched again. */
  async verify(id: string, options: VerifyOptions = {}): Promise<VerifyReport> {
    const model = await this.#model(id)
    const noted = model.bitfield
    this.#record.transaction(() => reconcile(this.#record, this.#holder, this.#models, this.#clock.wall()))
    const present = new Set(this.#record.parts(id).map(({ part }) => part))
    const parts = [...model.layout.parts.values()].filter(({ name }) => present.has(name))
    const bytes = await verifyParts(model, parts, options)
    const bad = Array.from({ length: model.layout.table.count }, (_, index) => index)
    return { bytes, bad: bad.filter((index) => isSet(noted, index) && !model.has(index)) }
  }

  /** `verify` of all models, or why one can't be verified. */
  async fsck(options: VerifyOptions = {}): Promise<ReadonlyMap<string, VerifyReport | ShoalError>> {
    const reports = new Map<string, VerifyReport | ShoalError>()
    for (const id of this.#ids()) {
      const report = await this.verify(id, options).catch((error) => {
        if (error instanceof ShoalError) return error
        throw error
      })
      reports.set(id, report)
    }
    return reports
  }

  /** Syncs what was written, and lets go of all that is in use here. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#stopLooking()
    for (const model of this.#open.values()) await model.close()
    this.#holder.close()
    this.#record.close()
  }

  async #model(id: string): Promise<ModelOnDisk> {
    const folder = this.#folder(id)
    const known = existsSync(folder) ? this.#open.get(id) : undefined
    if (known !== undefined) return known
    const manifest = await readManifestOf(folder)
    const components = {
      record: this.#record,
      space: this.#space,
      clock: this.#clock,
      look: () => this.#look()
    }
    const model = this.#open.get(id) ?? new ModelOnDisk(components, manifest, folder)
    this.#open.set(id, model)
    return model
  }

  /** Under another name until it is whole, and only where it says something else. */
  async #write(id: string, file: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.#folder(id), file)
    const there = await readFile(path).catch(() => undefined)
    if (there !== undefined && Buffer.compare(there, bytes) === 0) return
    const temporary = join(this.#folder(id), this.#holder.temporaryName())
    await writeWhole(temporary, bytes)
    await rename(temporary, path)
  }

  #ids(): string[] {
    return readdirSync(this.#models).filter(isModelId)
  }

  #headersLock(id: string): string {
    return join(this.#locks, `${id}.headers`)
  }

  #folder(id: string): string {
    if (!isModelId(id)) throw new ShoalError('MODEL', 'A model’s id has 64 hexadecimal digits.')
    return join(this.#models, id)
  }

  #look(): void {
    if (!this.#isClosed && this.#record.hasChanged()) this.#refresh()
  }

  #refresh(): void {
    for (const model of this.#open.values()) model.refresh()
  }

  #lookLater(): void {
    this.#stopLooking = this.#clock.after(LOOK_MS, () => {
      try {
        this.#look()
        this.#lookLater()
      } catch (error) {
        this.#report?.((error as Error).message) // it does not get better by itself
      }
    })
  }
}
