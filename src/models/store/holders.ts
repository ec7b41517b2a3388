/**
 * Who uses the store: each process that has it open holds a lock, which the system frees when it ends. By that others
 * know whose leases count. Process ids would not do: containers that share a folder count them anew.
 */
import { randomUUID } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isLocked, type Lock, tryLock } from './locks.ts'
import type { StoreRecord } from './record.ts'

const SUFFIX = '.holder'
/** Its name says who works on it. */
const TEMPORARY = /^\.tmp-([0-9a-f-]{36})-/

export class Holder {
  readonly id: string = randomUUID()
  readonly #record: StoreRecord
  readonly #locks: string
  readonly #lock: Lock
  #temporaries = 0

  /** In a transaction: nobody may take the lock for a dead one's before it is noted. */
  constructor(record: StoreRecord, locks: string) {
    this.#record = record
    this.#locks = locks
    const lock = tryLock(join(locks, this.id + SUFFIX))
    if (lock === undefined) throw new Error('a random name is taken')
    this.#lock = lock
    record.run('addHolder', this.id)
  }

  /** Drops the leases of the dead. In a transaction. */
  sweep(): void {
    for (const file of readdirSync(this.#locks)) {
      if (file.endsWith(SUFFIX)) this.#dropIfDead(file.slice(0, -SUFFIX.length))
    }
    for (const { id } of this.#record.all('holders')) this.#dropIfDead(id as string)
  }

  /** A name beside `path`'s that is removed when this process has died. */
  temporaryName(): string {
    return `.tmp-${this.id}-${this.#temporaries++}`
  }

  /** Of somebody who is gone. After a sweep. */
  isStray(file: string): boolean {
    const [, holder] = TEMPORARY.exec(file) ?? []
    return holder !== undefined && !this.#record.all('holders').some(({ id }) => id === holder)
  }

  #dropIfDead(id: string): void {
    const path = join(this.#locks, id + SUFFIX)
    if (id === this.id || isLocked(path)) return
    this.#record.run('deleteLeasesOf', id)
    this.#record.run('deleteHolder', id)
    rmSync(path, { force: true })
  }

  close(): void {
    try {
      this.#record.transaction(() => {
        this.#record.run('deleteLeasesOf', this.id)
        this.#record.run('deleteHolder', this.id)
      })
    } catch {} // others see by the lock that it is gone
    this.#lock.release()
    rmSync(join(this.#locks, this.id + SUFFIX), { force: true })
  }
}

/** Whether any process has the store open, where the record that says which is damaged. */
export function isHeld(locks: string): boolean {
  return readdirSync(locks).some((file) => file.endsWith(SUFFIX) && isLocked(join(locks, file)))
}
