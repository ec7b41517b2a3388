/**
 * `store.db`: which pieces are there, when parts were used last, and who uses them. Safe for several processes; what
 * was noted stays noted when one is killed.
 */
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { ShoalError } from '../../common/index.ts'
import { storeError } from './errors.ts'

export const RECORD_FILE = 'store.db'
const VERSION = 1
/** Others write for milliseconds. */
const BUSY_MS = 5_000

const SCHEMA = `
  CREATE TABLE parts (
    model TEXT NOT NULL, part TEXT NOT NULL, bytes INTEGER NOT NULL, used INTEGER NOT NULL, boot TEXT,
    pieces BLOB NOT NULL, PRIMARY KEY (model, part)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE holders (id TEXT PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE leases (
    lease TEXT NOT NULL, model TEXT NOT NULL, part TEXT NOT NULL, holder TEXT NOT NULL, until INTEGER,
    PRIMARY KEY (lease, model, part)
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${VERSION};
`

const STATEMENTS = {
  parts: 'SELECT * FROM parts',
  partsOf: 'SELECT * FROM parts WHERE model = ?',
  part: 'SELECT * FROM parts WHERE model = ? AND part = ?',
  setPart: 'INSERT OR REPLACE INTO parts (model, part, bytes, used, boot, pieces) VALUES (?, ?, ?, ?, ?, ?)',
  setPieces: 'UPDATE parts SET pieces = ?, boot = ? WHERE model = ? AND part = ?',
  settle: 'UPDATE parts SET boot = NULL WHERE model = ? AND part = ? AND pieces = ?',
  touch: 'UPDATE parts SET used = ? WHERE model = ? AND part = ?',
  deletePart: 'DELETE FROM parts WHERE model = ? AND part = ?',
  deletePartsOf: 'DELETE FROM parts WHERE model = ?',
  totalBytes: 'SELECT coalesce(sum(bytes), 0) AS total FROM parts',
  /** What nobody uses, least recently used first. */
  idle: `SELECT * FROM parts WHERE NOT EXISTS (
      SELECT 1 FROM leases WHERE leases.model = parts.model AND leases.part = parts.part
      AND (until IS NULL OR until > ?)
    ) ORDER BY used, part DESC`,
  users:
    'SELECT DISTINCT holder FROM leases WHERE model = ? AND (until IS NULL OR (until > ? AND holder <> ?))',
  lease: 'INSERT OR REPLACE INTO leases (lease, model, part, holder, until) VALUES (?, ?, ?, ?, ?)',
  deletePartOfLease: 'DELETE FROM leases WHERE lease = ? AND model = ? AND part = ?',
  leased: 'SELECT 1 FROM leases WHERE lease = ? AND model = ? AND part = ?',
  deleteLeasesOn: 'DELETE FROM leases WHERE model = ? AND part = ?',
  deleteLease: 'DELETE FROM leases WHERE lease = ?',
  holders: 'SELECT id FROM holders',
  addHolder: 'INSERT INTO holders (id) VALUES (?)',
  deleteHolder: 'DELETE FROM holders WHERE id = ?',
  deleteLeasesOf: 'DELETE FROM leases WHERE holder = ?',
  /** Changes with each commit of another connection. */
  dataVersion: 'PRAGMA data_version'
} as const

export interface PartRow {
  readonly model: string
  readonly part: string
  /** Of its file. */
  readonly bytes: number
  /** Milliseconds since 1970. */
  readonly used: number
  /** In which start of the machine it was written to; null: all of it has reached the disk. */
  readonly boot: string | null
  /** One bit for each of its pieces, the highest first. */
  readonly pieces: Uint8Array
}

type Value = string | number | null | Uint8Array

export class StoreRecord {
  readonly #folder: string
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  #dataVersion: unknown

  /** Throws a ShoalError NEWER, DAMAGED, DISK or BUSY. Two may not open it at the same moment. */
  constructor(folder: string) {
    this.#folder = folder
    try {
      this.#database = new DatabaseSync(join(folder, RECORD_FILE), { timeout: BUSY_MS })
    } catch (error) {
      throw storeError(error, folder)
    }
    try {
      this.#prepare()
    } catch (error) {
      this.#database.close()
      throw storeError(error, folder)
    }
  }

  #prepare(): void {
    const version = this.#database.prepare('PRAGMA user_version').get()?.user_version
    if (typeof version === 'number' && version > VERSION) {
      const message = `The store at ${this.#folder} was written by a newer version of Shoal`
      throw new ShoalError('NEWER', `${message}: update this one, or use another folder.`)
    }
    // Not synced with each commit: after a crash of the machine, what was written is verified anyway.
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    if (version === 0) this.#database.exec(`BEGIN; ${SCHEMA} COMMIT`)
    const verdict = this.#database.prepare('PRAGMA integrity_check(1)').get()?.integrity_check
    if (verdict !== 'ok') throw Object.assign(new Error(String(verdict)), { errcode: 11 })
    for (const [name, sql] of Object.entries(STATEMENTS)) {
      this.#statements.set(name, this.#database.prepare(sql))
    }
  }

  /** All or nothing, and nobody else writes meanwhile. */
  transaction<T>(run: () => T): T {
    this.#guard(() => this.#database.exec('BEGIN IMMEDIATE'))
    try {
      const result = run()
      this.#guard(() => this.#database.exec('COMMIT'))
      return result
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw error
    }
  }

  run(statement: keyof typeof STATEMENTS, ...values: Value[]): void {
    this.#guard(() => this.#statement(statement).run(...values))
  }

  /** Of all models, or of one. */
  parts(model?: string): PartRow[] {
    return (model === undefined ? this.all('parts') : this.all('partsOf', model)) as unknown as PartRow[]
  }

  part(model: string, part: string): PartRow | undefined {
    return this.all('part', model, part)[0] as unknown as PartRow | undefined
  }

  all(statement: keyof typeof STATEMENTS, ...values: Value[]): Record<string, unknown>[] {
    return this.#guard(() => this.#statement(statement).all(...values))
  }

  /** Whether others have written since this was asked last. */
  hasChanged(): boolean {
    const version = this.all('dataVersion')[0]?.data_version
    if (version === this.#dataVersion) return false
    this.#dataVersion = version
    return true
  }

  close(): void {
    this.#database.close()
  }

  #statement(name: keyof typeof STATEMENTS): StatementSync {
    return this.#statements.get(name) as StatementSync
  }

  #guard<T>(run: () => T): T {
    if (!this.#database.isOpen) throw new ShoalError('CLOSED', 'The store is closed.')
    try {
      return run()
    } catch (error) {
      throw storeError(error, this.#folder)
    }
  }
}
