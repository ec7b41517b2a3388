import { stat } from 'node:fs/promises'
import { type ModelFile, openModel, WholeFile } from '../models/index.ts'

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined
  /** While a file is hashed. */
  readonly onProgress?: ((progress: { bytes: number; total: number }) => void) | undefined
}

/** GGUF files of this machine that somebody has named. They stay open: pieces are given out of them. */
export class ModelFiles {
  readonly #cache: string | undefined
  /** By id; the version is that by which it is seen that a file has changed. */
  readonly #files = new Map<string, { readonly whole: WholeFile; readonly version: string | undefined }>()

  /** `cache`: where it is remembered what large files hash to. */
  constructor(cache: string | undefined) {
    this.#cache = cache
  }

  /** Hashed again only when it has changed. Throws a ShoalError MODEL_FILE or a GgufError. */
  async open(path: string, options: ReadOptions): Promise<ModelFile> {
    for (const [id, { whole, version }] of this.#files) {
      const { model } = whole
      if (model.path !== path) continue
      if (version !== undefined && (await versionOf(model.files)) === version) return model
      this.#files.delete(id)
      await whole.close() // it is no such model any more
    }
    const model = await openModel(path, { cache: this.#cache, ...options })
    const version = await versionOf(model.files)
    // The other's pieces may be being read. It may have come just now: from here on nobody else has a turn.
    if (this.#files.has(model.id)) await model.close()
    else this.#files.set(model.id, { whole: new WholeFile(model), version })
    return model
  }

  get ids(): string[] {
    return [...this.#files.keys()]
  }

  get(id: string): WholeFile | undefined {
    return this.#files.get(id)?.whole
  }

  async close(): Promise<void> {
    for (const { whole } of this.#files.values()) await whole.close()
    this.#files.clear()
  }
}

/** Undefined where one of them is gone. */
async function versionOf(files: readonly string[]): Promise<string | undefined> {
  try {
    const stats = await Promise.all(files.map((file) => stat(file, { bigint: true })))
    return stats.map(({ size, ino, mtimeNs }) => [size, ino, mtimeNs].join(' ')).join('\n')
  } catch {
    return undefined
  }
}
