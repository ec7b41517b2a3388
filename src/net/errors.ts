import { ShoalError } from '../common/index.ts'

export type NetErrorCode =
  | 'IDENTITY' // the key file cannot be used
  | 'DIAL_DENIED' // the dial gate said no
  | 'DIAL_FAILED' // nobody answered, or not the peer that was asked for
  | 'REFUSED' // the other side did not accept the data stream's ticket
  | 'CLOSED' // the stream has ended
  | 'STOPPED' // the host is not running

/** Thrown when a connection or stream cannot be had or is gone. */
export class NetError extends ShoalError {
  declare readonly code: NetErrorCode

  constructor(code: NetErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options)
  }
}
