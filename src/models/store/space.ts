/** The parts' files: making them, and dropping what was used longest ago when a quota is reached. */
import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, ShoalError } from '../../common/index.ts'
import { storeError } from './errors.ts'
import type { Holder } from './holders.ts'
import { fileOf, type PartLayout } from './layout.ts'
import type { PartRow, StoreRecord } from './record.ts'

export interface SpaceComponents {
  readonly record: StoreRecord
  readonly holder: Holder
  readonly clock: Clock
}

export interface SpaceInit {
  /** Has a folder for each model. */
  readonly models: string
  /** Something was dropped. */
  readonly onDropped: () => void
}

/** Keeps parts until it is released. */
export interface Lease {
  release(): void
}

export interface LeaseTerms {
  readonly id: string
  /** Milliseconds since 1970; null: until it is released or its holder ends. */
  readonly until: number | null
}

export class Space {
  readonly #record: StoreRecord
  readonly #holder: Holder
  readonly #clock: Clock
  readonly #init: SpaceInit
  /** Bytes of all parts; undefined: no bound but the disk's. */
  quota: number | undefined

  constructor({ record, holder, clock }: SpaceComponents, init: SpaceInit, quota?: number) {
    this.#record = record
    this.#holder = holder
    this.#clock = clock
    this.#init = init
    this.quota = quota
  }

  /**
   * Keeps parts of a model from being dropped, and makes the files of those that have none: as long as they will be,
   * and empty. Throws a ShoalError QUOTA where what is in use leaves no room for them, MODEL where the model is gone.
   */
  reserve(model: string, parts: readonly PartLayout[], { id, until }: LeaseTerms): void {
    const now = this.#clock.wall()
    const hasDropped = this.#record.transaction(() => {
      const rows = new Set(this.#record.parts(model).map(({ part }) => part))
      const missing = parts.filter(
        ({ name, file }) => !rows.has(name) || !existsSync(this.#path(model, file))
      )
      const bytes = missing.reduce((sum, part) => sum + (rows.has(part.name) ? 0 : part.byteLength), 0)
      const victims = this.#victims(bytes, model, new Set(parts.map(({ name }) => name)), now)
      for (const part of missing) {
        this.#makeFile(this.#path(model, part.file), part.byteLength)
        const pieces = new Uint8Array(Math.ceil(part.pieceCount / 8))
        this.#record.run('setPart', model, part.name, part.byteLength, now, null, pieces)
      }
      for (const { name } of parts) {
        this.#record.run('lease', id, model, name, this.#holder.id, until)
        this.#record.run('touch', now, model, name)
      }
      for (const victim of victims) this.#drop(victim)
      return victims.length > 0 || missing.some(({ name }) => rows.has(name))
    })
    if (hasDropped) this.#init.onDropped()
  }

  release(lease: string): void {
    this.#record.run('deleteLease', lease)
  }

  /** Who uses parts of a model now; this process where it has a lease without end. After a sweep. */
  usersOf(model: string): string[] {
    const users = this.#record.all('users', model, this.#clock.wall(), this.#holder.id)
    return users.map(({ holder }) => holder as string)
  }

  /** What to drop so that `bytes` more have room. */
  #victims(bytes: number, model: string, spared: ReadonlySet<string>, now: number): PartRow[] {
    const { quota } = this
    if (quota === undefined || bytes === 0) return []
    const total = this.#record.all('totalBytes')[0]?.total as number
    let over = total + bytes - quota
    if (over <= 0) return []
    this.#holder.sweep()
    const victims: PartRow[] = []
    for (const row of this.#record.all('idle', now) as unknown as PartRow[]) {
      if (row.model === model && spared.has(row.part)) continue
      victims.push(row)
      over -= row.bytes
      if (over <= 0) return victims
    }
    const [needed, allowed] = [bytes, quota].map((value) => `${Math.ceil(value / 2 ** 20)} MiB`)
    const message = `${needed} more do not fit into the store’s quota of ${allowed} beside what is in use`
    throw new ShoalError('QUOTA', `${message}: raise the quota, or host fewer blocks.`)
  }

  /** The file first: a row without one is seen at the next start, a file without a row would be verified. */
  #drop({ model, part }: PartRow): void {
    rmSync(this.#path(model, fileOf(part)), { force: true })
    this.#record.run('deletePart', model, part)
    this.#record.run('deleteLeasesOn', model, part) // those that have run out
  }

  #makeFile(path: string, byteLength: number): void {
    try {
      const file = openSync(path, 'a') // never cuts what another wrote
      try {
        if (fstatSync(file).size !== byteLength) ftruncateSync(file, byteLength)
      } finally {
        closeSync(file)
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw storeError(error, path)
      throw new ShoalError('MODEL', 'The model is not in the store any more: add it again.', { cause: error })
    }
  }

  #path(model: string, file: string): string {
    return join(this.#init.models, model, file)
  }
}
