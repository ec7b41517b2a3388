/**
 * Models on disk: pieces are kept in files that an engine loads and that are seeded from. Several processes may have
 * one folder open at the same time.
 *
 * @example
 * ```ts
 * const store = await Store.open({ folder })
 * await store.add(manifest)
 * const model = await store.get(manifest.id)
 * for (const index of model.missing(partsOf(manifest.items, { start: 0, end: 4 }, manifest.blockCount))) {
 *   await model.write({ index, bytes: await fetchPiece(index) })
 * }
 * const span = await store.span(manifest.id, { start: 0, end: 4 })
 * const engine = await span.load(async ({ files, embedding }) => startEngine({ files, embedding }))
 * span.release()
 * await store.close()
 * ```
 */
export { GgufPieces } from './gguf-pieces.ts'
export type { Lease } from './space.ts'
export type { BlockRange, StoredSpan } from './span.ts'
export {
  Store,
  type StoreComponents,
  type StoredSpanOptions,
  type StoreInit,
  type VerifyReport
} from './store.ts'
export type { ModelOnDisk } from './stored-model.ts'
export type { ModelSummary } from './summary.ts'
export type { VerifyOptions } from './verify.ts'
