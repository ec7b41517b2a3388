/**
 * Models on servers: the hub, its mirrors, and whoever gives ranges of files by HTTP.
 *
 * @example
 * ```ts
 * const http = new HttpClient({ endpoint: process.env.HF_ENDPOINT, token: process.env.HF_TOKEN })
 * const model = await openRemote(http, await locate(http, 'hf:user/repo:Q4_K_M'))
 * const manifest = await remoteManifest(http, model)
 * await store.add(manifest)
 * const parts = partsOf(manifest.items, { start: 0, end: 4 }, manifest.blockCount)
 * await fetchPieces(await store.get(manifest.id), new HttpPieces(manifest, model), parts)
 * ```
 */
export { SourceError, type SourceErrorCode } from './errors.ts'
export { type FetchOptions, fetchPieces } from './fetch-pieces.ts'
export { HttpClient, type HttpInit } from './http.ts'
export { locateOnHub, type RemotePart } from './hub.ts'
export { HttpPieces, type HttpPiecesInit } from './pieces.ts'
export { RemoteFile } from './remote-file.ts'
export {
  locate,
  locateListed,
  manifestBeside,
  openRemote,
  type RemoteManifestOptions,
  type RemoteModel,
  remoteManifest
} from './remote-model.ts'
