export { ShoalError } from './errors.ts'
export type { Startable } from './lifecycle.ts'
