/**
 * Nodes of one user on one machine find each other by files in a folder, so that nobody has to type an address to
 * try a swarm at home. Loopback has no multicast for mDNS, and a port that is always the same would find strangers.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { makeFolder, replaceFile } from '../common/index.ts'
import type { PeerAddress } from '../net/index.ts'

/** Read at most; a machine has fewer. */
const MAX_FILES = 256
const ONLY_OWNER = 0o700

const schema = z.object({
  peer: z.string().min(1).max(128),
  addresses: z.array(z.string().max(512)).max(16),
  /** Nodes of different swarms have nothing to say to each other. */
  swarm: z.string().max(64),
  process: z.int().positive(),
  /** Its data folder, for other commands of this user. */
  folder: z.string().max(4_096).optional()
})

type Entry = z.infer<typeof schema>

export class Neighbours {
  readonly #folder: string
  readonly #swarm: string
  /** Another process with the same identity may have announced itself: what is not ours stays. */
  readonly #announced = new Set<string>()

  /** `swarm` may be secret: only its hash is written. */
  constructor(folder: string, swarm: string) {
    this.#folder = folder
    this.#swarm = createHash('sha256').update(swarm).digest('hex').slice(0, 32)
  }

  async announce(peer: string, addresses: readonly string[], folder?: string): Promise<void> {
    makeFolder(this.#folder, ONLY_OWNER)
    const path = this.#path(peer)
    const entry: Entry = {
      ...{ peer, addresses: addresses.slice(0, 16), swarm: this.#swarm, process: process.pid, folder }
    }
    await replaceFile(path, JSON.stringify(entry))
    this.#announced.add(peer)
  }

  async withdraw(peer: string): Promise<void> {
    if (this.#announced.delete(peer)) await rm(this.#path(peer), { force: true })
  }

  /** Those of the same swarm that run. */
  async find(): Promise<PeerAddress[]> {
    const all = await running(this.#folder)
    return all
      .filter(({ swarm }) => swarm === this.#swarm)
      .map(({ peer, addresses }) => ({ peer, addresses }))
  }

  #path(peer: string): string {
    return join(this.#folder, `${peer}.json`)
  }
}

/** The data folders of all nodes of this user that run, whatever swarm they are in. */
export async function runningNodes(neighbours: string): Promise<string[]> {
  const folders = (await running(neighbours)).flatMap(({ folder }) => folder ?? [])
  return [...new Set(folders)].sort()
}

async function running(folder: string): Promise<Entry[]> {
  const files = await readdir(folder).catch(() => [])
  const found: Entry[] = []
  for (const file of files.filter((name) => name.endsWith('.json')).slice(0, MAX_FILES)) {
    const path = join(folder, file)
    const entry = await read(path)
    if (entry === undefined) continue
    if (isRunning(entry.process)) found.push(entry)
    else await rm(path, { force: true }).catch(() => {}) // it was killed
  }
  return found
}

async function read(path: string): Promise<Entry | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    return undefined
  }
}

function isRunning(process_: number): boolean {
  try {
    return process.kill(process_, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' // somebody else's
  }
}
