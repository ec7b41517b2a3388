import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'

/** By its name a file is the one before or the new one, whole and on disk, whenever the machine goes down and whoever else writes it. */
export async function replaceFile(path: string, data: Uint8Array | string): Promise<void> {
  const partial = `${path}.${randomUUID()}.partial`
  try {
    const file = await open(partial, 'w')
    try {
      await file.writeFile(data)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}
