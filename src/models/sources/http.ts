/** Asking servers: redirects, who gets the token, silence. What is asked for, and how often, is for others to say. */
import { VERSION } from '../../common/index.ts'
import { SourceError } from './errors.ts'
import { type Asked, failureOf } from './failures.ts'
import { Retries, type RetryInit } from './retries.ts'

export const HUB_ENDPOINT = 'https://huggingface.co'
/** The hub needs one, its mirrors two. */
const MAX_REDIRECTS = 5
/** A server that says nothing for so long is asked anew. */
const STALL_MS = 30_000

export interface HttpInit extends RetryInit {
  /** The hub, or a mirror of it; default {@link HUB_ENDPOINT}. */
  readonly endpoint?: string | undefined
  /** Shown to the endpoint's origin only. */
  readonly token?: string | undefined
  /**
   * Asked before each request, those of redirects among them; default everything. Where addresses come from
   * strangers, nobody's router or intranet should be asked.
   */
  readonly mayAsk?: ((url: URL) => boolean | Promise<boolean>) | undefined
  readonly stallMs?: number | undefined
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** After redirects. */
  readonly url: URL
  /** To be read to its end, left early or dropped. Throws a SourceError NETWORK, or the signal's reason. */
  readonly body: AsyncIterable<Uint8Array>
  drop(): Promise<void>
}

export class HttpClient {
  readonly endpoint: URL
  readonly #init: HttpInit
  #bytesReceived = 0

  /** Throws a SourceError URL for an endpoint that is none. */
  constructor(init: HttpInit = {}) {
    this.#init = init
    this.endpoint = httpUrl(init.endpoint ?? HUB_ENDPOINT)
  }

  /** Of all bodies, those included that were of no use. */
  get bytesReceived(): number {
    return this.#bytesReceived
  }

  retries(signal: AbortSignal | undefined): Retries {
    return new Retries(this.#init, signal)
  }

  /**
   * One request and its redirects, tried once; resolves whatever the status is. Throws a SourceError URL or NETWORK,
   * or the signal's reason.
   */
  async get(from: URL, headers: Record<string, string>, signal?: AbortSignal): Promise<Answer> {
    const stall = new Stall(this.#init.stallMs ?? STALL_MS)
    const either = signal === undefined ? stall.signal : AbortSignal.any([signal, stall.signal])
    try {
      const [response, url] = await this.#follow(from, headers, either)
      return {
        ...{ status: response.status, headers: response.headers, url },
        body: this.#read(response, url, stall, signal),
        drop: async () => {
          stall.end()
          await response.body?.cancel()
        }
      }
    } catch (error) {
      stall.end()
      throw failed(error, from, stall, signal)
    }
  }

  /** Why an answer is of no use. */
  failure({ status, headers, url }: Answer, from: URL): SourceError {
    return failureOf(status, headers, this.#asked(url.origin === this.endpoint.origin ? url : from))
  }

  async #follow(from: URL, headers: Record<string, string>, signal: AbortSignal): Promise<[Response, URL]> {
    let url = from
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      await this.#check(url)
      const response = await fetch(url, { headers: this.#headers(url, headers), redirect: 'manual', signal })
      const location = response.headers.get('location')
      if (response.status < 300 || response.status >= 400 || location === null) return [response, url]
      await response.body?.cancel()
      const next = httpUrl(location, url)
      if (url.protocol === 'https:' && next.protocol === 'http:') {
        throw new SourceError('URL', `${nameOf(url)} leads on to ${nameOf(next)}, which is not encrypted.`)
      }
      url = next
    }
    throw new SourceError('ANSWER', `${nameOf(from)} leads from one address to the next without an end.`)
  }

  async #check(url: URL): Promise<void> {
    if ((await this.#init.mayAsk?.(url)) === false) {
      throw new SourceError('URL', `${nameOf(url)} is not an address that this node may ask.`)
    }
  }

  #headers(url: URL, headers: Record<string, string>): Record<string, string> {
    const { token } = this.#init
    const all = { ...headers, 'user-agent': `shoal/${VERSION}` }
    if (token === undefined || url.origin !== this.endpoint.origin) return all
    return { ...all, authorization: `Bearer ${token}` }
  }

  #asked(url: URL): Asked {
    const isHub = url.origin === this.endpoint.origin
    const repository = /^(?:\/api\/models)?(\/[^/]+\/[^/]+)\/(?:tree|resolve)\//.exec(url.pathname)?.[1]
    return {
      name: nameOf(url),
      page: isHub ? `${url.origin}${repository ?? ''}` : undefined,
      hasToken: this.#init.token !== undefined
    }
  }

  async *#read(
    response: Response,
    url: URL,
    stall: Stall,
    signal: AbortSignal | undefined
  ): AsyncGenerator<Uint8Array> {
    try {
      for await (const bytes of response.body ?? []) {
        stall.heard()
        this.#bytesReceived += bytes.byteLength
        yield bytes
      }
    } catch (error) {
      throw failed(error, url, stall, signal)
    } finally {
      stall.end()
    }
  }
}

/** Throws a SourceError URL for anything but an address that may be asked and shown. */
export function httpUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href)
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new SourceError('URL', `"${text.slice(0, 200)}" is no http(s) address.`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new SourceError('URL', `The address of ${nameOf(url)} has a password in it: leave it out.`)
  }
  return url
}

/** For people and logs: without query, which may be a signature. */
export function nameOf(url: URL): string {
  return `${url.origin}${url.pathname}`
}

/** Fires when nothing was heard for a while. */
class Stall {
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout

  constructor(ms: number) {
    this.#timer = setTimeout(() => this.#controller.abort(), ms)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  heard(): void {
    this.#timer.refresh()
  }

  end(): void {
    clearTimeout(this.#timer)
  }
}

function failed(error: unknown, url: URL, stall: Stall, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason
  if (error instanceof SourceError) return error
  if (stall.signal.aborted) {
    return new SourceError('NETWORK', `${nameOf(url)}: the server says nothing any more.`)
  }
  if (!(error instanceof TypeError)) return error
  // Of several addresses that were tried, only the code says something.
  const { message, code } = (error.cause ?? error) as NodeJS.ErrnoException
  const why = message || code
  return new SourceError('NETWORK', `${nameOf(url)}: the connection failed (${why}).`, { cause: error })
}
