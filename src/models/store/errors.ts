/** What disks and SQLite throw, as people can act on it. */
import { ShoalError } from '../../common/index.ts'

const FULL = new Set(['ENOSPC', 'EDQUOT'])
const READ_ONLY = new Set(['EACCES', 'EPERM', 'EROFS'])
/** SQLite's primary result codes. */
const SQLITE = {
  error: 1,
  busy: 5,
  locked: 6,
  readOnly: 8,
  corrupt: 11,
  full: 13,
  cantOpen: 14,
  notADatabase: 26
}
/** The first: a table is not there, or is another. */
const DAMAGED: readonly number[] = [SQLITE.error, SQLITE.corrupt, SQLITE.notADatabase]

/** What says enough, and mistakes of ours. */
const KEPT = [ShoalError, TypeError, ReferenceError]

/**
 * DISK: full, or not to be read or written; DAMAGED: the record is; BUSY: somebody holds it. ShoalErrors and aborts
 * stay what they are.
 */
export function storeError(error: unknown, where: string): Error {
  const { name, code = '', errcode = 0, message } = error as Error & { code?: string; errcode?: number }
  if (name === 'AbortError' || name === 'TimeoutError') return error as Error
  if (KEPT.some((kind) => error instanceof kind)) return error as Error
  const cause = { cause: error }
  const result = errcode & 0xff
  if (FULL.has(code) || result === SQLITE.full) {
    return new ShoalError('DISK', `The disk of ${where} is full: make room, or move the store.`, cause)
  }
  if (READ_ONLY.has(code) || result === SQLITE.readOnly || result === SQLITE.cantOpen) {
    const advice = 'it has to be this user’s, on a disk that is not read-only'
    return new ShoalError('DISK', `${where} can't be written (${message}): ${advice}.`, cause)
  }
  if (DAMAGED.includes(result)) {
    const advice = 'Stop all Shoal processes that use it; the next start makes it anew from the files'
    return new ShoalError('DAMAGED', `The record of the store at ${where} is damaged. ${advice}.`, cause)
  }
  if (result === SQLITE.busy || result === SQLITE.locked) {
    const advice = 'is one of the Shoal processes that use it suspended?'
    return new ShoalError('BUSY', `The store at ${where} does not answer: ${advice}`, cause)
  }
  return new ShoalError('DISK', `${where} can't be used: ${message}.`, cause)
}
