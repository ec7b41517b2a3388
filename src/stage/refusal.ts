import type { RefusalCode, Refused } from '../net/index.ts'

/** Why a session can't be opened or kept, in words that say what to do. */
export interface Refusal {
  readonly code: RefusalCode
  readonly message: string
}

/** As much as the wire takes; what libraries and other peers say may be longer. */
const MAX_CHARACTERS = 1_024

export function refused({ code, message }: Refusal): Refused {
  return { type: 'refused', code, message: bounded(message) }
}

export function bounded(message: string): string {
  return message.slice(0, MAX_CHARACTERS).toWellFormed()
}
