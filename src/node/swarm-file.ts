/** What this machine has joined, and whom it wants nothing to do with: `swarm.json` in the data folder. */
import { open, readFile, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { makeFolder, ShoalError } from '../common/index.ts'
import { swarmName } from '../swarm/index.ts'

/** A private swarm's key is in it. */
const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700
const OTHERS = 0o077
/** Peers per list. */
const MAX_LISTED = 4_096

const isBytes = (value: unknown): boolean => value instanceof Uint8Array
const bytes = z.codec(z.base64(), z.custom<Uint8Array>(isBytes), {
  decode: (text) => new Uint8Array(Buffer.from(text, 'base64')),
  encode: (value) => Buffer.from(value).toString('base64')
})
const peer = z.string().min(1).max(128)
const lists = {
  /** Only these, if there are any. */
  allow: z.array(peer).max(MAX_LISTED).default([]),
  block: z.array(peer).max(MAX_LISTED).default([])
}

const schema = z.discriminatedUnion('kind', [
  /** Nothing: this machine alone. `asked`: whether to join the public swarm, and the answer was no. */
  z.object({ kind: z.literal('local'), asked: z.boolean().default(false), ...lists }),
  z.object({ kind: z.literal('public'), ...lists }),
  z.object({
    kind: z.literal('private'),
    name: swarmName,
    /** Pre-shared, 32 bytes. */
    key: bytes.refine((value) => value.byteLength === 32, 'must have 32 bytes'),
    /** Peer id of the node that admits. */
    founder: peer,
    /** Where the founder was when it invited this machine; none on its own machine. */
    addresses: z.array(z.string().max(512)).max(16),
    /** That this machine's peer id may take part. */
    certificate: bytes,
    ...lists
  })
])

export type SwarmFile = z.infer<typeof schema>
export type PrivateSwarm = Extract<SwarmFile, { kind: 'private' }>

/** Nothing has been joined where there is no file. Throws `ShoalError` SWARM_FILE for one that can't be used. */
export async function readSwarmFile(folder: string): Promise<SwarmFile> {
  const path = pathIn(folder)
  let text: string
  try {
    await checkMode(path)
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return schema.parse({ kind: 'local' })
    if (cause instanceof ShoalError) throw cause
    throw new ShoalError('SWARM_FILE', `Cannot read ${path}: ${(cause as Error).message}`, { cause })
  }
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    const where = cause instanceof z.ZodError ? ` (${cause.issues[0]?.path.join('.')})` : ''
    const advice = 'restore it from a backup, or move it away: then this machine has joined nothing.'
    throw new ShoalError('SWARM_FILE', `${path} is damaged${where}: ${advice}`, { cause })
  }
}

/** The file is the old one or the new one, whenever the machine goes down. */
export async function writeSwarmFile(folder: string, file: SwarmFile): Promise<void> {
  makeFolder(folder, DIRECTORY_MODE)
  const path = pathIn(folder)
  const partial = await open(`${path}.partial`, 'w', FILE_MODE)
  try {
    await partial.chmod(FILE_MODE) // what a crash has left may have been changed
    await partial.writeFile(`${JSON.stringify(z.encode(schema, file), undefined, 2)}\n`)
    await partial.sync()
  } finally {
    await partial.close()
  }
  await rename(`${path}.partial`, path)
  if (process.platform !== 'win32') await syncFolder(dirname(path))
}

async function checkMode(path: string): Promise<void> {
  // Windows has no such modes: the profile folder's access list protects the file.
  if (process.platform === 'win32' || ((await stat(path)).mode & OTHERS) === 0) return
  throw new ShoalError(
    'SWARM_FILE',
    `${path} can be read by other users of this machine: run chmod 600 ${path}`
  )
}

/** A rename is on disk when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function pathIn(folder: string): string {
  return join(folder, 'swarm.json')
}
