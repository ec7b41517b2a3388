import { type FileHandle, open } from 'node:fs/promises'

/** A part's pieces come and go one after the other. */
const IDLE_MS = 2_000

interface OpenFile {
  readonly handle: Promise<FileHandle>
  users: number
  isForgotten: boolean
  idle: NodeJS.Timeout | undefined
}

/** Files that are read or written again and again stay open in between: opening one takes longer than a piece. */
export class OpenFiles {
  readonly #files = new Map<string, OpenFile>()
  readonly #flags: 'r' | 'r+'

  constructor(flags: 'r' | 'r+') {
    this.#flags = flags
  }

  /** Throws what opening or `work` throws. */
  async use<T>(path: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
    const file = this.#files.get(path) ?? this.#open(path)
    clearTimeout(file.idle)
    file.users += 1
    try {
      return await work(await file.handle)
    } catch (error) {
      this.forget(path)
      throw error
    } finally {
      file.users -= 1
      if (file.users === 0) this.#unused(path, file)
    }
  }

  #open(path: string): OpenFile {
    const file: OpenFile = { handle: open(path, this.#flags), users: 0, isForgotten: false, idle: undefined }
    this.#files.set(path, file)
    return file
  }

  #unused(path: string, file: OpenFile): void {
    if (file.isForgotten) void close(file)
    else file.idle = setTimeout(() => this.forget(path), IDLE_MS).unref()
  }

  /** Whoever uses it goes on; the next one opens what has its name then. */
  forget(path: string): void {
    const file = this.#files.get(path)
    if (file === undefined) return
    this.#files.delete(path)
    clearTimeout(file.idle)
    file.isForgotten = true
    if (file.users === 0) void close(file)
  }

  async close(): Promise<void> {
    const files = [...this.#files.values()]
    for (const path of [...this.#files.keys()]) this.forget(path)
    await Promise.all(files.map(close))
  }
}

async function close({ handle }: OpenFile): Promise<void> {
  await handle.then((opened) => opened.close()).catch(() => {}) // it was not opened, or is closed already
}
