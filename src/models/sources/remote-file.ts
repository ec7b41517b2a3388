import type { ByteSource } from '../../gguf/index.ts'
import { SourceError } from './errors.ts'
import { type Answer, type HttpClient, httpUrl, nameOf } from './http.ts'

/** Asked for at first, and kept: holds the header of a GGUF without a vocabulary. */
const HEAD_BYTES = 64 * 1024
/** An attempt that brought so much was none in vain. */
const PROGRESS_BYTES = 64 * 1024
/** What servers answer whose signed address has expired. */
const EXPIRED: ReadonlySet<number> = new Set([400, 401, 403, 404, 410])

interface Version {
  readonly size: number
  /** Undefined: the server doesn't say. */
  readonly tag: string | undefined
}

/**
 * A file on a server, read by ranges. What fails in passing is tried again from where it broke off; where the address
 * leads on to a signed one, that is used until it expires. A file that changes is an error from then on.
 */
export class RemoteFile implements ByteSource {
  /** For people: without query. */
  readonly name: string
  readonly #http: HttpClient
  readonly #url: URL
  /** Where the address leads. */
  #resolved: URL | undefined
  #version: Version | undefined
  #head = new Uint8Array(0)

  private constructor(http: HttpClient, url: URL) {
    this.#http = http
    this.#url = url
    this.name = nameOf(url)
  }

  /** Asks for its beginning, and learns its size by that. Throws a SourceError. */
  static async open(http: HttpClient, url: string, signal?: AbortSignal): Promise<RemoteFile> {
    const file = new RemoteFile(http, httpUrl(url))
    const chunks: Uint8Array[] = []
    let length = 0
    await file.#fetch(0, HEAD_BYTES, signal, (bytes) => {
      chunks.push(bytes)
      length += bytes.byteLength
    })
    file.#head = new Uint8Array(Buffer.concat(chunks, length))
    return file
  }

  get size(): number {
    return this.#version?.size ?? 0
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    this.#check(offset, length)
    if (offset + length <= this.#head.byteLength) return this.#head.slice(offset, offset + length)
    const bytes = new Uint8Array(length)
    let done = 0
    await this.stream(offset, length, signal, (chunk) => {
      bytes.set(chunk, done)
      done += chunk.byteLength
    })
    return bytes
  }

  /** Exactly these bytes, as they come. */
  async stream(
    offset: number,
    length: number,
    signal: AbortSignal | undefined,
    receive: (bytes: Uint8Array) => void
  ): Promise<void> {
    this.#check(offset, length)
    signal?.throwIfAborted()
    if (length > 0) await this.#fetch(offset, offset + length, signal, receive)
  }

  async close(): Promise<void> {}

  #check(offset: number, length: number): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new RangeError(`${this.name}: bytes ${offset} to ${offset + length} of ${this.size}`)
    }
  }

  async #fetch(
    start: number,
    end: number,
    signal: AbortSignal | undefined,
    receive: (bytes: Uint8Array) => void
  ): Promise<void> {
    const retries = this.#http.retries(signal)
    for (let at = start; at < Math.min(end, this.#version?.size ?? end); ) {
      const before = at
      try {
        for await (const bytes of this.#range(at, end, signal)) {
          receive(bytes)
          at += bytes.byteLength
        }
      } catch (error) {
        if (at - before >= PROGRESS_BYTES) retries.reset()
        await retries.after(error)
      }
    }
  }

  /** One attempt. At most so many bytes, and an error where there were less. */
  async *#range(start: number, end: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    const answer = await this.#ask(start, end, signal)
    let left: number
    try {
      left = this.#accept(answer, start, end)
    } catch (error) {
      await answer.drop()
      throw error
    }
    for await (const bytes of answer.body) {
      if (bytes.byteLength > left) throw this.#error('ANSWER', 'the server sends more than was asked for.')
      left -= bytes.byteLength
      yield bytes
    }
    if (left > 0) throw this.#error('NETWORK', `the server stopped ${left} bytes too early.`)
  }

  async #ask(start: number, end: number, signal: AbortSignal | undefined): Promise<Answer> {
    const headers = { range: `bytes=${start}-${end - 1}`, 'accept-encoding': 'identity' }
    const resolved = this.#resolved
    if (resolved !== undefined) {
      let status: number | undefined
      try {
        const answer = await this.#http.get(resolved, headers, signal)
        status = answer.status
        if (!EXPIRED.has(status)) return answer
        await answer.drop()
      } finally {
        if (status !== 206 && this.#resolved === resolved) this.#resolved = undefined
      }
    }
    const answer = await this.#http.get(this.#url, headers, signal)
    if (answer.status === 206 && answer.url.href !== this.#url.href) this.#resolved = answer.url
    return answer
  }

  /** The length of the body. */
  #accept(answer: Answer, start: number, end: number): number {
    const { status, headers } = answer
    if (status === 200) {
      throw this.#error(
        'NO_RANGES',
        'the server gives whole files only, not parts of them: use another source.'
      )
    }
    if (status !== 206) throw this.#http.failure(answer, this.#url)
    const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get('content-range') ?? '') ?? []
    const size = Number(total)
    const encoding = headers.get('content-encoding') ?? 'identity'
    if (Number(first) !== start || Number(last) !== Math.min(end, size) - 1 || encoding !== 'identity') {
      throw this.#error('ANSWER', `the server answers with other bytes than were asked for, or does not say.`)
    }
    this.#compare({ size, tag: headers.get('etag') ?? headers.get('last-modified') ?? undefined })
    return Math.min(end, size) - start
  }

  #compare(version: Version): void {
    this.#version ??= version
    const { size, tag } = this.#version
    const isSameTag = tag === undefined || version.tag === undefined || tag === version.tag
    if (size !== version.size || !isSameTag) {
      throw this.#error('CHANGED', 'the file has been replaced while it was read: start over.')
    }
  }

  #error(code: 'ANSWER' | 'CHANGED' | 'NETWORK' | 'NO_RANGES', message: string): SourceError {
    return new SourceError(code, `${this.name}: ${message}`)
  }
}
