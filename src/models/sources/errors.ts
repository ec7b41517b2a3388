import { ShoalError } from '../../common/index.ts'

export type SourceErrorCode =
  | 'URL' // no address that may be asked
  | 'NOT_FOUND'
  | 'UNAUTHORISED' // it wants a token, or another one
  | 'FORBIDDEN' // the token is good, its owner may not
  | 'RANGE' // the file has no such bytes
  | 'NO_RANGES' // the server gives whole files only
  | 'CHANGED' // the file is another one than at first
  | 'BUSY' // come back later
  | 'SERVER' // its fault
  | 'NETWORK' // resets, silence, bodies that end early
  | 'ANSWER' // not what HTTP or the hub's API say

const PASSING: ReadonlySet<SourceErrorCode> = new Set(['BUSY', 'SERVER', 'NETWORK'])

/** Thrown when a file or an answer cannot be had from a server. */
export class SourceError extends ShoalError {
  declare readonly code: SourceErrorCode
  /** What the server asks for before the next request. */
  readonly retryAfterMs: number | undefined

  constructor(code: SourceErrorCode, message: string, options?: ErrorOptions & { retryAfterMs?: number }) {
    super(code, message, options)
    this.retryAfterMs = options?.retryAfterMs
  }

  /** Whether the same request may do later. */
  get isPassing(): boolean {
    return PASSING.has(this.code)
  }
}
