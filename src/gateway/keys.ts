/** API keys: random, kept as hashes only, so that whoever reads the file can't use them. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { chmodSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { z } from 'zod'
import { makeFolder, ShoalError } from '../common/index.ts'
import type { OwnerLimits } from './limits.ts'

export const KEY_PREFIX = 'sk-shoal-'
/** 256 bits: nobody guesses them, so that a plain hash without salt is enough. */
const KEY_BYTES = 32
const VERSION = 1
/** Others write for milliseconds. */
const BUSY_MS = 1_000
const MAX_NAME = 100
/** The file of those who are not told where. */
export const KEYS_FILE = 'keys.db'

const SCHEMA = `
  CREATE TABLE keys (
    id TEXT PRIMARY KEY NOT NULL, hash BLOB NOT NULL, name TEXT NOT NULL, requests INTEGER, tokens INTEGER,
    concurrency INTEGER, created INTEGER NOT NULL, used INTEGER, revoked INTEGER
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${VERSION};
`

export interface ApiKey {
  /** The first 8 hexadecimal digits of its hash: what it is called in lists and logs. */
  readonly id: string
  readonly name: string
  readonly limits: OwnerLimits
  /** Milliseconds since 1970, as the others. */
  readonly created: number
  readonly used?: number | undefined
  readonly revoked?: number | undefined
}

const row = z
  .object({
    ...{ id: z.string(), hash: z.instanceof(Uint8Array), name: z.string(), created: z.int() },
    ...{ requests: z.int().nullable(), tokens: z.int().nullable(), concurrency: z.int().nullable() },
    ...{ used: z.int().nullable(), revoked: z.int().nullable() }
  })
  .transform(({ requests, tokens, concurrency, used, revoked, ...rest }) => ({
    ...rest,
    limits: {
      requestsPerMinute: requests ?? undefined,
      tokensPerMinute: tokens ?? undefined,
      concurrency: concurrency ?? undefined
    },
    used: used ?? undefined,
    revoked: revoked ?? undefined
  }))

export class KeyStore {
  readonly #database: DatabaseSync
  readonly #find: StatementSync
  /** Last uses that have not been written: not one write per request. */
  readonly #used = new Map<string, number>()

  /** Opens or makes the file. Throws a ShoalError KEYS. */
  constructor(path: string) {
    try {
      makeFolder(dirname(path), 0o700)
      this.#database = new DatabaseSync(path, { timeout: BUSY_MS })
      if (path !== ':memory:') chmodSync(path, 0o600)
      this.#database.exec('PRAGMA journal_mode = WAL')
      this.#prepare()
      this.#find = this.#database.prepare('SELECT * FROM keys WHERE id = ?')
    } catch (cause) {
      if (cause instanceof ShoalError) throw cause
      const reason = (cause as Error).message
      throw new ShoalError('KEYS', `No keys can be kept in ${path}: ${reason}. Name another file.`, { cause })
    }
  }

  #prepare(): void {
    this.#database.exec('BEGIN IMMEDIATE')
    const version = this.#database.prepare('PRAGMA user_version').get()?.user_version
    if (version === 0) this.#database.exec(SCHEMA)
    this.#database.exec('COMMIT')
    if (version !== 0 && version !== VERSION) {
      throw new ShoalError('KEYS', 'These keys were written by another version of Shoal: use that one.')
    }
  }

  /** Makes a key. Its text is told this once. */
  create(name: string, limits: OwnerLimits, now: number): { readonly secret: string; readonly key: ApiKey } {
    const { requestsPerMinute = null, tokensPerMinute = null, concurrency = null } = limits
    for (;;) {
      const secret = KEY_PREFIX + randomBytes(KEY_BYTES).toString('base64url')
      const hash = hashOf(secret)
      const { changes } = this.#database
        .prepare('INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)')
        .run(
          ...[idOf(hash), hash, name.slice(0, MAX_NAME), requestsPerMinute, tokensPerMinute, concurrency, now]
        )
      if (changes === 1) return { secret, key: keyOf(this.#find.get(idOf(hash))) }
    }
  }

  /** Oldest first, revoked ones included. */
  list(): ApiKey[] {
    return this.#database.prepare('SELECT * FROM keys ORDER BY created, id').all().map(keyOf)
  }

  /** False: there is none of that id that was good until now. */
  revoke(id: string, now: number): boolean {
    const statement = this.#database.prepare('UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL')
    return statement.run(now, id).changes === 1
  }

  /** Whose key this is; undefined: nobody's any more. */
  check(secret: string, now: number): ApiKey | undefined {
    const hash = hashOf(secret)
    const found = this.#find.get(idOf(hash))
    if (found === undefined) return undefined
    const { hash: known, ...key } = row.parse(found)
    if (!timingSafeEqual(hash, known) || key.revoked !== undefined) return undefined
    this.#used.set(key.id, now)
    return key
  }

  /** Writes when keys were used last. */
  flush(): void {
    if (this.#used.size === 0) return
    const statement = this.#database.prepare('UPDATE keys SET used = max(coalesce(used, 0), ?) WHERE id = ?')
    this.#database.exec('BEGIN IMMEDIATE')
    for (const [id, used] of this.#used) statement.run(used, id)
    this.#database.exec('COMMIT')
    this.#used.clear()
  }

  close(): void {
    if (!this.#database.isOpen) return
    try {
      this.flush()
    } catch {
      // Somebody else writes; when keys were used is a convenience.
    }
    this.#database.close()
  }
}

function keyOf(found: unknown): ApiKey {
  const { hash: _, ...key } = row.parse(found)
  return key
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

function idOf(hash: Buffer): string {
  return hash.toString('hex', 0, 4)
}
