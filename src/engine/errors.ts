import { ShoalError } from '../common/index.ts'

/** What an engine can refuse or suffer; `message` says what to do about it. */
export type EngineErrorCode =
  | 'LIBRARY_MISSING' // no binaries for this platform
  | 'LIBRARY_VERSION' // binaries of another release
  | 'LIBRARY_LAYOUT' // structs differ from the ones we know
  | 'LOAD_FAILED' // the file is no model that llama.cpp takes
  | 'INPUT' // rows, sequences or settings outside the bounds
  | 'KV_FULL' // no room for the rows in the KV cache
  | 'COMPUTE' // llama_decode failed
  | 'DIED' // the engine process is gone; its sequences with it
  | 'ABORTED' // the caller gave up

/** Thrown by every call of an Engine. */
export class EngineError extends ShoalError {
  declare readonly code: EngineErrorCode

  constructor(code: EngineErrorCode, message: string, options?: ErrorOptions) {
    super(code, message, options)
  }
}
