export { ShoalError } from './errors.ts'
export { FileSource } from './file.ts'
export type { Startable } from './lifecycle.ts'
export { VERSION } from './version.ts'
