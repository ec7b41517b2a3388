import { ShoalError } from '../../common/index.ts'

export type WireErrorCode =
  | 'TOO_LARGE' // more bytes or rows than allowed
  | 'MALFORMED' // not what the protocol says
  | 'INVALID' // well-formed, with a value out of bounds
  | 'VERSION' // a version of the protocol that we do not speak

/** Thrown when a peer sent (or we were asked to send) something that the protocol does not allow. */
export class WireError extends ShoalError {
  declare readonly code: WireErrorCode
  /** Which field or part, where known. */
  readonly field: string | undefined

  constructor(code: WireErrorCode, message: string, field?: string, options?: ErrorOptions) {
    super(code, message, options)
    this.field = field
  }
}
