import { ShoalError } from '../common/index.ts'

export type GgufErrorCode =
  | 'FORMAT' // no GGUF file, or one of a version or byte order that is not supported
  | 'TRUNCATED' // the file ends before what its header promises, or promises more than it could hold
  | 'METADATA' // a key, a value or its type breaks the format
  | 'TENSOR' // a tensor's name, shape, type or place breaks the format
  | 'PARTS' // the parts of a multi-part model do not belong together
  | 'WRITE' // what was asked to be written can't be, or its bytes are not as many as planned
  | 'SPAN' // a slice was asked for that the model does not have

/** Thrown when a GGUF file breaks the format, or when a plan for one can't be made or written. */
export class GgufError extends ShoalError {
  declare readonly code: GgufErrorCode
  /** Where it was noticed, in bytes from the start of the file; 0 where no file is read. */
  readonly offset: number

  constructor(code: GgufErrorCode, offset: number, message: string, options?: ErrorOptions) {
    super(code, message, options)
    this.offset = offset
  }
}

/** Thrown when a model is valid, but it is not known how to cut it into slices that compute the same. */
export class UnsupportedModelError extends ShoalError {
  constructor(message: string, options?: ErrorOptions) {
    super('UNSUPPORTED_MODEL', message, options)
  }
}
