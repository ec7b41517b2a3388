/** What a person has decided in a page of sharing: `sharing.json` in the data folder. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { makeFolder, replaceFile, ShoalError } from '../common/index.ts'
import { type SharingSettings, sharingSettings } from '../gateway/index.ts'

/** Models; more than a disk has. */
const MAX_WITHHELD = 4_096

const schema = z.object({
  /** What was said last; undefined: nothing yet. */
  isOn: z.boolean().optional(),
  hasSaidYes: z.boolean().default(false),
  settings: sharingSettings.partial().default({}),
  /** Ids of models that others get no pieces of. */
  withheld: z.array(z.string().max(64)).max(MAX_WITHHELD).default([])
})

export type SharingFile = z.infer<typeof schema>

export const DEFAULT_SETTINGS: SharingSettings = {
  ...{ memoryBytes: null, threads: null, diskBytes: null, models: null },
  ...{ uploadBytesPerSecond: null, downloadBytesPerSecond: null },
  ...{ schedule: null, idleOnly: false, onBattery: false }
}

/** Nothing has been decided where there is no file. Throws a ShoalError SHARING_FILE for one that can't be used. */
export async function readSharingFile(folder: string): Promise<SharingFile> {
  const path = pathIn(folder)
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return schema.parse({})
    const where = cause instanceof z.ZodError ? ` (${cause.issues[0]?.path.join('.')})` : ''
    const advice = 'mend it, or move it away: then nothing has been decided yet'
    throw new ShoalError('SHARING_FILE', `${path} can't be used${where}: ${advice}.`, { cause })
  }
}

export async function writeSharingFile(folder: string, file: SharingFile): Promise<void> {
  makeFolder(folder)
  await replaceFile(pathIn(folder), `${JSON.stringify(file, undefined, 2)}\n`)
}

function pathIn(folder: string): string {
  return join(folder, 'sharing.json')
}
