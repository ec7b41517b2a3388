import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { ShoalError } from '../../common/index.ts'
import { isHeld } from './holders.ts'
import { RECORD_FILE, StoreRecord } from './record.ts'

/**
 * Puts a damaged record aside, so that it is made anew from the files, unless others use it. Throws what opening it
 * throws. Nobody else may open it meanwhile.
 */
export function openRecord(
  folder: string,
  locks: string,
  report: ((message: string) => void) | undefined
): StoreRecord {
  try {
    return new StoreRecord(folder)
  } catch (error) {
    if ((error as ShoalError).code !== 'DAMAGED' || isHeld(locks)) throw error
    const aside = `${RECORD_FILE}.damaged-${Date.now()}`
    report?.(
      `The record of the store was damaged (now ${aside}): its models are verified before they are used.`
    )
    for (const suffix of ['', '-wal', '-shm']) {
      const path = join(folder, RECORD_FILE + suffix)
      if (existsSync(path)) renameSync(path, join(folder, aside + suffix))
    }
    return new StoreRecord(folder)
  }
}
