import { DatabaseSync } from 'node:sqlite'
import type { Grant } from '../swarm/index.ts'

/** Of two processes that write at the same moment. */
const BUSY_MS = 1_000

/** Which newcomers came with which grant: kept, so that no restart makes a grant good again. */
export class Admissions {
  readonly #database: DatabaseSync

  /** A file, or `:memory:`. */
  constructor(path: string) {
    this.#database = new DatabaseSync(path, { timeout: BUSY_MS })
    this.#database.exec(
      'CREATE TABLE IF NOT EXISTS admissions (grant_id TEXT, peer TEXT, expires INTEGER, PRIMARY KEY (grant_id, peer))'
    )
  }

  /** False when the grant has been used up by others. A peer that comes again, as its answer was lost, counts once. */
  take({ id, uses, expires }: Grant, peer: string, now: number): boolean {
    const database = this.#database
    database.prepare('DELETE FROM admissions WHERE expires < ?').run(now)
    database
      .prepare(
        'INSERT OR IGNORE INTO admissions SELECT ?, ?, ? WHERE (SELECT count(*) FROM admissions WHERE grant_id = ?) < ?'
      )
      .run(id, peer, expires, id, uses)
    const found = database.prepare('SELECT 1 FROM admissions WHERE grant_id = ? AND peer = ?').get(id, peer)
    return found !== undefined
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close()
  }
}
