import { open, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { ShoalError } from '../../common/index.ts'
import { type Manifest, readManifest } from '../manifest.ts'
import { storeError } from './errors.ts'

/** Of the model whose folder it is. Throws a ShoalError MODEL where there is none, MANIFEST where it is damaged. */
export async function readManifestOf(folder: string): Promise<Manifest> {
  const id = basename(folder)
  const bytes = await readFile(join(folder, 'manifest')).catch((error) => {
    if (error.code !== 'ENOENT') throw storeError(error, folder)
    throw new ShoalError('MODEL', `The model ${id.slice(0, 12)} is not in the store.`)
  })
  try {
    const manifest = readManifest(bytes)
    if (manifest.id === id) return manifest
  } catch {} // said below
  throw new ShoalError('MANIFEST', `The manifest of the model ${id.slice(0, 12)} is damaged: add it again.`)
}

/** When it resolves, it is on disk. */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'w')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}
