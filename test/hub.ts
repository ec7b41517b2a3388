/**
 * A hub on loopback: lists and serves the files of a folder (`USER/REPO/...`) as Hugging Face does, with ranges, and
 * fails as it is told to.
 *
 *     const hub = await TestHub.start({ folder })
 *     hub.fail({ status: 429, headers: { 'retry-after': '1' } })
 *     hub.fail({ resetAfter: 1_000 }, { times: 2, path: /\.gguf$/ })
 *     await fetch(hub.url('user/repo', 'model.gguf'), { headers: { range: 'bytes=0-99' } })
 *     await hub.close()
 */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, relative, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'

export interface TestHubInit {
  readonly folder: string
  /** Without it: 401. */
  readonly token?: string
  /** Files are on another port (`cdn`), at addresses that are good until `expire()`. */
  readonly signed?: boolean
  /** Entries of a listing's page; default all. */
  readonly pageEntries?: number
}

/** What goes wrong with a request; with none of these nothing does. */
export interface Fault {
  /** In place of the file. */
  readonly status?: number
  /** Beside the usual ones, or in their place. */
  readonly headers?: Readonly<Record<string, string>>
  /** Of an answer that is no file. */
  readonly body?: string
  /** Bytes of the body, then the connection is reset. */
  readonly resetAfter?: number
  /** Bytes of the body, then nothing more is said. */
  readonly silentAfter?: number
  /** Bytes that the body lacks, in good order. */
  readonly short?: number
  /** Every byte is another one. */
  readonly corrupt?: boolean
  /** The whole file, whatever was asked for. */
  readonly whole?: boolean
}

export interface FaultScope {
  /** Requests; default 1. */
  readonly times?: number
  /** Of the path; default all. */
  readonly path?: RegExp
}

export interface HubRequest {
  readonly server: 'hub' | 'cdn'
  readonly path: string
  readonly range: string | undefined
  readonly authorization: string | undefined
}

export class TestHub {
  /** All that came, in order. */
  readonly requests: HubRequest[] = []
  readonly #init: TestHubInit
  readonly #hub: Server
  readonly #cdn: Server
  readonly #faults: { readonly fault: Fault; readonly path: RegExp; left: number }[] = []
  #signature = 1
  #bytesSent = 0

  private constructor(init: TestHubInit) {
    this.#init = init
    this.#hub = createServer((request, response) => this.#serve('hub', request, response))
    this.#cdn = createServer((request, response) => this.#serve('cdn', request, response))
  }

  static async start(init: TestHubInit): Promise<TestHub> {
    const hub = new TestHub(init)
    for (const server of [hub.#hub, hub.#cdn]) await once(server.listen(0, '127.0.0.1'), 'listening')
    return hub
  }

  get endpoint(): string {
    return originOf(this.#hub)
  }

  /** Of files, by both servers. */
  get bytesSent(): number {
    return this.#bytesSent
  }

  url(repository: string, file: string): string {
    return `${this.endpoint}/${repository}/resolve/main/${file}`
  }

  /** The next requests fail so; those told first come first. */
  fail(fault: Fault, { times = 1, path = /./ }: FaultScope = {}): void {
    this.#faults.push({ fault, path, left: times })
  }

  /** Faults that are still to come are none. */
  heal(): void {
    this.#faults.length = 0
  }

  /** Signed addresses that were given until now are no good any more. */
  expire(): void {
    this.#signature += 1
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }

  #serve(server: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): void {
    this.#answer(server, request, response).catch(() => response.destroy())
  }

  async #answer(server: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.endpoint)
    const path = decodeURIComponent(url.pathname)
    const { range, authorization } = request.headers
    this.requests.push({ server, path, range, authorization })
    const isRefused =
      server === 'hub' && (this.#init.token ?? '') !== (authorization ?? '').replace('Bearer ', '')
    const fault = this.#faultFor(path) ?? (isRefused && this.#init.token !== undefined ? { status: 401 } : {})
    if (fault.status !== undefined || fault.body !== undefined) {
      response.writeHead(fault.status ?? 200, fault.headers).end(fault.body ?? 'as the test wants it')
      return
    }
    const [, repository, revision] = /^\/api\/models\/([^/]+\/[^/]+)\/tree\/(.+)$/.exec(path) ?? []
    if (repository !== undefined && revision !== undefined) return this.#list(repository, url, response)
    const [, owner, file] = /^\/([^/]+\/[^/]+)\/resolve\/[^/]+\/(.+)$/.exec(path) ?? []
    const onDisk = join(this.#init.folder, owner ?? '', file ?? '')
    const size = file === undefined ? undefined : await sizeOf(onDisk)
    if (size === undefined) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end()
    } else if (this.#init.signed && server === 'hub') {
      const location = `${originOf(this.#cdn)}${url.pathname}?signature=${this.#signature}`
      response.writeHead(302, { location }).end()
    } else if (server === 'cdn' && url.searchParams.get('signature') !== String(this.#signature)) {
      response.writeHead(403).end('expired')
    } else {
      await this.#send(onDisk, size, range, fault, response)
    }
  }

  #faultFor(path: string): Fault | undefined {
    const found = this.#faults.find((each) => each.left > 0 && each.path.test(path))
    if (found !== undefined) found.left -= 1
    return found?.fault
  }

  async #list(repository: string, url: URL, response: ServerResponse): Promise<void> {
    const root = join(this.#init.folder, repository)
    const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => undefined)
    if (entries === undefined) {
      response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end()
      return
    }
    const listed = await Promise.all(
      entries.map(async (entry) => {
        const path = join(entry.parentPath, entry.name)
        const type = entry.isDirectory() ? 'directory' : 'file'
        const { size } = await stat(path)
        return { type, oid: '0'.repeat(40), size, path: relative(root, path).split(sep).join('/') }
      })
    )
    const from = Number(url.searchParams.get('cursor') ?? 0)
    const to = from + (this.#init.pageEntries ?? listed.length)
    const next = `${this.endpoint}${url.pathname}?recursive=true&cursor=${to}`
    const link = to < listed.length ? { link: `<${next}>; rel="next"` } : {}
    response.writeHead(200, { 'content-type': 'application/json', ...link })
    response.end(JSON.stringify(listed.slice(from, to)))
  }

  async #send(
    path: string,
    size: number,
    range: string | undefined,
    fault: Fault,
    response: ServerResponse
  ): Promise<void> {
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
    const isPart = first !== undefined && fault.whole !== true
    const start = isPart ? Number(first) : 0
    const end = isPart && last !== '' ? Math.min(Number(last) + 1, size) : size
    if (isPart && start >= size) {
      response.writeHead(416, { 'content-range': `bytes */${size}` }).end()
      return
    }
    const headers = {
      'accept-ranges': 'bytes',
      'content-length': String(end - start - (fault.short ?? 0)),
      etag: `"${size}"`,
      ...(isPart ? { 'content-range': `bytes ${start}-${end - 1}/${size}` } : {})
    }
    response.writeHead(isPart ? 206 : 200, { ...headers, ...fault.headers })
    const length = Math.min(fault.resetAfter ?? fault.silentAfter ?? size, end - start - (fault.short ?? 0))
    response.flushHeaders()
    if (length > 0) {
      const file = createReadStream(path, { start, end: start + length - 1 })
      await pipeline(file, (chunks) => this.#sent(chunks, fault), response, { end: false })
    }
    if (fault.resetAfter !== undefined) response.socket?.resetAndDestroy()
    else if (fault.silentAfter === undefined) response.end()
  }

  async *#sent(chunks: AsyncIterable<Uint8Array>, { corrupt }: Fault): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.#bytesSent += chunk.byteLength
      yield corrupt ? chunk.map((byte) => byte ^ 0xff) : chunk
    }
  }
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const info = await stat(path)
    return info.isFile() ? info.size : undefined
  } catch {
    return undefined
  }
}
