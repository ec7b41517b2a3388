/**
 * Which model was found under a name on this machine: the only names that are trusted. What peers' listings call
 * their models may be anything.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { makeFolder, replaceFile } from '../common/index.ts'

const schema = z.object({ name: z.string().min(1), id: z.string().regex(/^[0-9a-f]{64}$/) })

export class ModelNames {
  readonly #folder: string

  /** One file per name in it, so that several processes may write. */
  constructor(folder: string) {
    this.#folder = folder
  }

  async idOf(name: string): Promise<string | undefined> {
    const known = await read(this.#path(name))
    return known?.name === name ? known.id : undefined
  }

  async set(name: string, id: string): Promise<void> {
    if ((await this.idOf(name)) === id) return
    makeFolder(this.#folder)
    await replaceFile(this.#path(name), JSON.stringify({ name, id }))
  }

  /** All names of each model. */
  async byId(): Promise<ReadonlyMap<string, readonly string[]>> {
    const files = await readdir(this.#folder).catch(() => [])
    const known = await Promise.all(
      files.filter((file) => file.endsWith('.json')).map((file) => read(join(this.#folder, file)))
    )
    const all = known.flatMap((entry) => entry ?? []).sort((a, b) => (a.name < b.name ? -1 : 1))
    const groups = Map.groupBy(all, ({ id }) => id)
    return new Map([...groups].map(([id, entries]) => [id, entries.map(({ name }) => name)]))
  }

  #path(name: string): string {
    return join(this.#folder, `${createHash('sha256').update(name).digest('hex')}.json`)
  }
}

/** Undefined where there is none, or it is damaged: it is found anew then. */
async function read(path: string): Promise<z.infer<typeof schema> | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    return undefined
  }
}
