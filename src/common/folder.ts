import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Makes a folder, and those above it, where they are missing. Node's own recursive mkdir never returns where a folder
 * can't be made for another reason than its parent's absence, such as under /proc.
 */
export function makeFolder(path: string, mode?: number): void {
  if (isMade(path, mode)) return
  if (dirname(path) !== path) makeFolder(dirname(path), mode)
  if (!isMade(path, mode)) throw new Error(`no folder can be made at ${path}`)
}

/** False where the folder above is missing, or seems to be. */
function isMade(path: string, mode: number | undefined): boolean {
  try {
    mkdirSync(path, mode)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return false
    if (code !== 'EEXIST') throw error
  }
  return true
}
