import { ShoalError } from '../common/index.ts'

export type GgufErrorCode =
  /** Not a GGUF file, or one of a version or byte order that is not supported. */
  | 'gguf-format'
  /** The file ends before what its header promises, or promises more than it could hold. */
  | 'gguf-truncated'
  /** A key, a value or its type breaks the format. */
  | 'gguf-metadata'
  /** A tensor's name, shape, type or place breaks the format. */
  | 'gguf-tensor'
  /** The parts of a multi-part model do not belong together. */
  | 'gguf-parts'
  /** What was asked to be written can't be, or its bytes are not as many as planned. */
  | 'gguf-write'

/** Thrown when a GGUF file breaks the format, or when a plan for one can't be written. */
export class GgufError extends ShoalError {
  declare readonly code: GgufErrorCode
  /** Where it was noticed, in bytes from the start of the file. */
  readonly offset: number

  constructor(code: GgufErrorCode, offset: number, message: string, options?: ErrorOptions) {
    super(code, `${message} (at byte ${offset})`, options)
    this.offset = offset
  }
}

/** Thrown when a model is valid, but Shoal does not know how to cut it into slices that compute the same. */
export class UnsupportedModelError extends ShoalError {
  constructor(message: string, options?: ErrorOptions) {
    super('unsupported-model', message, options)
  }
}
