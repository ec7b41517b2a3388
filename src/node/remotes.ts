/** Models on servers: where people said, and where listings say. */
import { ShoalError } from '../common/index.ts'
import {
  HttpClient,
  type HttpInit,
  HttpPieces,
  isHubName,
  type Listing,
  locate,
  locateListed,
  type Manifest,
  manifestBeside,
  openRemote,
  type PieceSource,
  type RemoteModel,
  readManifest,
  remoteManifest,
  SourceError
} from '../models/index.ts'
import { isPublicAddress } from './public-address.ts'

/** Who knows the model already does not wait for long to hear whether somebody has hashed it since. */
const NEWS_MS = 3_000

/** A model whose bytes are to be read from a server. */
export interface Wanted {
  readonly manifest: Manifest
  /** Where somebody said that it is: `hf:...` or an address. */
  readonly place: string | undefined
  readonly listing: Listing | undefined
}

interface Way {
  readonly http: HttpClient
  /** Of the server. */
  readonly origin: string
  locate(signal: AbortSignal): Promise<string[]>
}

export class Remotes {
  readonly #typed: HttpClient
  /** Listings come from strangers. */
  readonly #listed: HttpClient
  readonly #report: (message: string) => void
  /** Whose headers were read, by place. */
  readonly #opened = new Map<string, { readonly id: string; readonly model: RemoteModel }>()

  constructor(init: HttpInit = {}, report: (message: string) => void = () => {}) {
    this.#typed = new HttpClient(init)
    const { origin } = this.#typed.endpoint
    this.#listed = new HttpClient({
      ...init,
      mayAsk: async (url) =>
        (await init.mayAsk?.(url)) !== false && (url.origin === origin || (await isPublicAddress(url)))
    })
    this.#report = report
  }

  /** Throws a ShoalError NAME, GgufError or SourceError. */
  async find(place: string, signal?: AbortSignal): Promise<{ manifest: Manifest; model: RemoteModel }> {
    const model = await openRemote(this.#typed, await locate(this.#typed, place, signal), signal)
    const manifest = await remoteManifest(this.#typed, model, { signal })
    this.#opened.set(place, { id: manifest.id, model })
    return { manifest, model }
  }

  /** The manifest that is beside a model now. Undefined also where nobody answers soon. */
  async published(place: string, signal?: AbortSignal): Promise<Manifest | undefined> {
    const soon = AbortSignal.timeout(NEWS_MS)
    const either = signal === undefined ? soon : AbortSignal.any([signal, soon])
    try {
      const urls = await locate(this.#typed, place, either)
      const bytes = await manifestBeside(this.#typed, urls, either)
      return bytes === undefined ? undefined : readManifest(bytes)
    } catch {
      signal?.throwIfAborted()
      return undefined
    }
  }

  /** Opened when it is first asked. Undefined: nobody said where the model is. */
  source(wanted: Wanted, onFailed: (error: Error) => void): PieceSource | undefined {
    const ways = this.#ways(wanted)
    return ways.length === 0
      ? undefined
      : new LazyPieces((signal) => this.#open(wanted, ways, signal), onFailed)
  }

  #ways({ place, listing }: Wanted): Way[] {
    const originOf = (at: string): string =>
      isHubName(at) ? this.#typed.endpoint.origin : new URL(at).origin
    const listed = (listing?.sources ?? []).map((source) => ({
      http: this.#listed,
      origin: originOf(source.parts[0]?.url ?? ''),
      locate: (signal: AbortSignal) => locateListed(this.#listed, source, signal)
    }))
    if (place === undefined) return listed
    const http = this.#typed
    const typed = {
      http,
      origin: originOf(place),
      locate: (signal: AbortSignal) => locate(http, place, signal)
    }
    return [typed, ...listed]
  }

  async #open({ manifest, place }: Wanted, ways: readonly Way[], signal: AbortSignal): Promise<HttpPieces> {
    const known = place === undefined ? undefined : this.#opened.get(place)
    if (known?.id === manifest.id) return new HttpPieces(manifest, known.model)
    const failures: Error[] = []
    const silent = new Set<string>()
    for (const { http, origin, locate } of ways) {
      if (silent.has(origin)) continue
      try {
        const model = await openRemote(http, await locate(signal), signal)
        // Without hashes, it is not seen by the pieces whether it is the same model still.
        if (manifest.pieces === undefined) await remoteManifest(http, model, { id: manifest.id, signal })
        return new HttpPieces(manifest, model)
      } catch (error) {
        signal.throwIfAborted()
        failures.push(error as Error)
        if (error instanceof SourceError && error.isPassing) silent.add(origin)
      }
    }
    const [first, ...others] = failures
    for (const { message } of others) if (message !== first?.message) this.#report(message)
    throw first
  }
}

class LazyPieces implements PieceSource {
  readonly kind = 'http'
  readonly #open: (signal: AbortSignal) => Promise<HttpPieces>
  readonly #onFailed: (error: Error) => void
  readonly #life = new AbortController()
  #pieces: Promise<HttpPieces> | undefined
  #name = 'its source'

  constructor(open: (signal: AbortSignal) => Promise<HttpPieces>, onFailed: (error: Error) => void) {
    this.#open = open
    this.#onFailed = onFailed
  }

  get name(): string {
    return this.#name
  }

  has(): boolean {
    return true
  }

  async fetch(...[indices, onPiece, signal]: Parameters<PieceSource['fetch']>): Promise<void> {
    try {
      this.#pieces ??= this.#open(this.#life.signal)
      const pieces = await this.#pieces
      this.#name = pieces.name
      await pieces.fetch(indices, onPiece, signal)
    } catch (error) {
      if (!signal.aborted && !this.#life.signal.aborted) this.#onFailed(error as Error)
      throw error
    }
  }

  async close(): Promise<void> {
    this.#life.abort(new ShoalError('CLOSED', 'the source is not needed any more'))
  }
}
