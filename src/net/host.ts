import type { Host, HostInit } from './types.ts'

export function createHost(_init: HostInit): Host {
  throw new Error('not there yet')
}
