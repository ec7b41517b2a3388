import { type FileHandle, open } from 'node:fs/promises'

/** Random access to a file on disk, by exact ranges. Structurally a `ByteSource` of gguf/. */
export class FileSource {
  readonly path: string
  readonly size: number
  readonly #handle: FileHandle

  private constructor(path: string, size: number, handle: FileHandle) {
    this.path = path
    this.size = size
    this.#handle = handle
  }

  static async open(path: string): Promise<FileSource> {
    const handle = await open(path, 'r')
    const { size } = await handle.stat()
    return new FileSource(path, size, handle)
  }

  /** All or none: a file that is missing leaves no other one open. */
  static async openAll(paths: readonly string[]): Promise<FileSource[]> {
    const results = await Promise.allSettled(paths.map((path) => FileSource.open(path)))
    const failed = results.find((result) => result.status === 'rejected')
    const sources = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    if (failed === undefined) return sources
    await Promise.all(sources.map((source) => source.close()))
    throw failed.reason
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted()
    if (offset < 0 || length < 0 || offset + length > this.size) {
      throw new RangeError(`${this.path}: bytes ${offset} to ${offset + length} of ${this.size}`)
    }
    return readRange(this.#handle, offset, length)
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

/** Exactly `length` bytes from `offset` of an open file. Throws a RangeError where it ends before. */
export async function readRange(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(buffer, done, length - done, offset + done)
    if (bytesRead === 0) throw new RangeError(`the file has no bytes ${offset + done} to ${offset + length}`)
    done += bytesRead
  }
  return buffer
}
