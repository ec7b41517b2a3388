/** Which start of the machine this is: what was written in another one may not have reached the disk. */
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

/** Clocks are set, and uptimes are rounded. */
const TOLERANCE_SECONDS = 120

/** Shared by all containers of a machine. */
export function currentBoot(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return String(Math.round(Date.now() / 1000 - uptime()))
  }
}

export function isSameBoot(a: string, b: string): boolean {
  return a === b || Math.abs(Number(a) - Number(b)) < TOLERANCE_SECONDS
}
