/**
 * Locks between processes, which the system frees when one ends, however it ends. SQLite's, since Node has none; they
 * hold across containers that share a folder. A locked file must not be opened in any other way: closing it would let
 * go of the lock.
 */
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

/** Short beside what is done under a lock: loading a span. */
const RETRY_MS = 20
const SQLITE_BUSY = 5

export interface Lock {
  release(): void
}

/** Undefined where somebody has it, in this process or another. */
export function tryLock(path: string): Lock | undefined {
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return { release: () => database.close() }
  } catch (error) {
    database.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined
    throw error
  }
}

export async function takeLock(path: string, signal?: AbortSignal): Promise<Lock> {
  for (;;) {
    signal?.throwIfAborted()
    const lock = tryLock(path)
    if (lock !== undefined) return lock
    await sleep(RETRY_MS, undefined, { signal })
  }
}

export function isLocked(path: string): boolean {
  if (!existsSync(path)) return false
  const lock = tryLock(path)
  lock?.release()
  return lock === undefined
}
