import { ShoalError } from '../common/index.ts'

export type AnswerErrorCode =
  | 'UNKNOWN_MODEL' // nobody knows the name
  | 'NOT_COVERED' // nobody hosts some blocks, or nobody is there at all
  | 'TOO_LONG' // the prompt does not fit into the context
  | 'INPUT' // the request asks for something that can't be
  | 'BUSY' // all chains are full
  | 'LOST' // the chain broke, and nobody took over in time

export interface AnswerErrorData {
  /** What of the request is wrong, as the internal request calls it. */
  readonly field?: string
  /** Blocks that nobody hosts, as [start, end). */
  readonly missing?: readonly (readonly [number, number])[]
  /** When to try again. */
  readonly retrySeconds?: number
  readonly promptTokens?: number
  readonly context?: number
}

/** Thrown where a request can't be answered; the message says what to do. */
export class AnswerError extends ShoalError {
  declare readonly code: AnswerErrorCode
  readonly data: AnswerErrorData

  constructor(code: AnswerErrorCode, message: string, data: AnswerErrorData = {}, options?: ErrorOptions) {
    super(code, message, options)
    this.data = data
  }
}
