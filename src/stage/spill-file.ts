import { randomUUID } from 'node:crypto'
import { readSync } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../common/index.ts'

/**
 * A file without a name: it has a conversation's hidden states, which others must not read and which must not
 * survive a crash.
 */
export class SpillFile {
  readonly #handle: FileHandle
  /** Where the platform does not unlink open files. */
  readonly #path: string | undefined

  constructor(handle: FileHandle, path?: string) {
    this.#handle = handle
    this.#path = path
  }

  static async create(folder: string): Promise<SpillFile> {
    makeFolder(folder, 0o700)
    const path = join(folder, `${randomUUID()}.replay`)
    const handle = await open(path, 'wx+', 0o600)
    const isUnlinked = await unlink(path).then(
      () => true,
      () => false
    )
    return new SpillFile(handle, isUnlinked ? undefined : path)
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const left = bytes.byteLength - done
      done += atLeastOne((await this.#handle.write(bytes, done, left, offset + done)).bytesWritten)
    }
  }

  async read(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const left = bytes.byteLength - done
      done += atLeastOne((await this.#handle.read(bytes, done, left, offset + done)).bytesRead)
    }
  }

  readNow(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.byteLength; ) {
      done += atLeastOne(readSync(this.#handle.fd, bytes, done, bytes.byteLength - done, offset + done))
    }
  }

  /** Waits for what is under way. Never rejects: what the file had is not needed any more. */
  async close(): Promise<void> {
    await this.#handle.close().catch(() => {})
    if (this.#path !== undefined) await unlink(this.#path).catch(() => {})
  }
}

function atLeastOne(bytes: number): number {
  if (bytes === 0) throw new Error('the file took or gave no more bytes')
  return bytes
}
