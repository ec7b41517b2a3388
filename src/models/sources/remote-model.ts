/** A model that is on a server: its files, its headers, its manifest. */
import { ShoalError } from '../../common/index.ts'
import { type GgufModel, readGguf, splitPartNames } from '../../gguf/index.ts'
import type { ListedSource } from '../listing.ts'
import { MAX_MANIFEST_BYTES, type Manifest, makeProvisionalManifest, readManifest } from '../manifest.ts'
import { isHubName, parseHubName } from '../names/hub-name.ts'
import { SourceError } from './errors.ts'
import { type HttpClient, httpUrl } from './http.ts'
import { locateOnHub } from './hub.ts'
import { RemoteFile } from './remote-file.ts'

/** What a publisher puts beside the first file of a model: its manifest. */
const MANIFEST_SUFFIX = '.manifest'
/** Of parts: an address may speak of 99,999. */
const OPENED_AT_ONCE = 8

export interface RemoteModel {
  /** Where its files are, in order. */
  readonly urls: readonly string[]
  /** Headers only; its sources read by ranges. */
  readonly gguf: GgufModel
  readonly files: readonly RemoteFile[]
}

/**
 * The files of `hf:...`, or of the http(s) address of a GGUF: of a multi-part one's first. Throws a ShoalError NAME or
 * a SourceError.
 */
export async function locate(http: HttpClient, text: string, signal?: AbortSignal): Promise<string[]> {
  if (isHubName(text)) {
    return (await locateOnHub(http, parseHubName(text), signal)).map(({ url }) => url)
  }
  const url = httpUrl(text)
  if (url.origin === http.endpoint.origin) {
    // The address of a file's page, as the browser shows it.
    url.pathname = url.pathname.replace(/^(\/[^/]+\/[^/]+)\/blob\//, '$1/resolve/')
  }
  return splitPartNames(url.pathname).map((pathname) => {
    const part = new URL(url)
    part.pathname = pathname
    return part.href
  })
}

/** The files of one of a listing's sources. */
export async function locateListed(
  http: HttpClient,
  { parts }: ListedSource,
  signal?: AbortSignal
): Promise<string[]> {
  const urls = parts.map(({ url }) => url)
  const [first = ''] = urls
  return isHubName(first) ? locate(http, first, signal) : urls
}

/** Reads the headers: some hundred KB, most of them the vocabulary. */
export async function openRemote(
  http: HttpClient,
  urls: readonly string[],
  signal?: AbortSignal
): Promise<RemoteModel> {
  const files: RemoteFile[] = []
  for (let start = 0; start < urls.length; start += OPENED_AT_ONCE) {
    const some = urls.slice(start, start + OPENED_AT_ONCE)
    files.push(...(await Promise.all(some.map((url) => RemoteFile.open(http, url, signal)))))
  }
  return { urls, files, gguf: await readGguf(files, signal) }
}

export interface RemoteManifestOptions {
  /** What a peer gave, or the node kept. */
  readonly bytes?: Uint8Array | undefined
  /** What the model has to be. */
  readonly id?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * The manifest of a model on a server: the one given, else the one beside its first file, else a provisional one, for
 * which 4 KiB of each tensor are read. Throws a ShoalError MODEL where it is not the one that was asked for.
 */
export async function remoteManifest(
  http: HttpClient,
  model: RemoteModel,
  options: RemoteManifestOptions = {}
): Promise<Manifest> {
  const { id, signal } = options
  const bytes = options.bytes ?? (await manifestBeside(http, model.urls, signal))
  const manifest =
    bytes === undefined ? await makeProvisionalManifest(model.gguf, signal) : readManifest(bytes)
  if (id !== undefined && manifest.id !== id) {
    const found = `${model.files[0]?.name} is the model ${manifest.id.slice(0, 12)}`
    throw new ShoalError('MODEL', `${found}, not ${id.slice(0, 12)}: use another source.`)
  }
  return manifest
}

/** What a publisher put beside a model's files: unchecked. Undefined where there is nothing. */
export async function manifestBeside(
  http: HttpClient,
  urls: readonly string[],
  signal?: AbortSignal
): Promise<Uint8Array | undefined> {
  const url = httpUrl(urls[0] ?? '')
  url.pathname += MANIFEST_SUFFIX
  let file: RemoteFile
  try {
    file = await RemoteFile.open(http, url.href, signal)
  } catch (error) {
    // Signed addresses are for one file; and whoever has no manifest may say so in many ways.
    const isAbsent = error instanceof SourceError && !error.isPassing
    if (isAbsent && !signal?.aborted) return undefined
    throw error
  }
  return file.size <= MAX_MANIFEST_BYTES ? file.read(0, file.size, signal) : undefined
}
