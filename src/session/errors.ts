import { ShoalError } from '../common/index.ts'

export type SessionErrorCode =
  | 'REFUSED' // a stage does not open the session, or gave it up
  | 'LOST' // the connection to a stage ended
  | 'TIMEOUT' // a stage did not answer in time
  | 'CLOSED' // the session was closed by its owner
  | 'INPUT' // more positions than there are, no rows, a grammar that does not parse: asking again does not help

/** Thrown by opening and generating; says which hop, and how far the answer got. */
export class SessionError extends ShoalError {
  declare readonly code: SessionErrorCode
  /** Index in the chain; undefined when it is no hop's doing. */
  readonly hop: number | undefined

  constructor(code: SessionErrorCode, message: string, hop?: number) {
    super(code, message)
    this.hop = hop
  }
}
