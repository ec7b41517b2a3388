/** A model that nobody had hashed, once all of it is in the store. */
import {
  type Manifest,
  makeListing,
  makeManifest,
  modelOf,
  readListing,
  type Store
} from '../models/index.ts'

export interface HashOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: { bytes: number; total: number }) => void) | undefined
}

/** Adds it with its hashes, and all of its bytes, in place of the one before (unless somebody uses that one). */
export async function hashStored(store: Store, id: string, options: HashOptions): Promise<Manifest> {
  const before = await store.get(id, options)
  const read = before.readContent.bind(before)
  const tokenizer = await read(0, before.manifest.items[0]?.byteLength ?? 0, options.signal)
  const manifest = await makeManifest(await modelOf(before.manifest, read, tokenizer), options)
  await store.add(manifest, await relisted(store, id, manifest.id))
  const after = await store.get(manifest.id, options)
  const { table } = after.layout
  for (let index = 0; index < table.count; index++) {
    options.signal?.throwIfAborted()
    const { item, offset, byteLength } = table.at(index)
    await after.write({ index, bytes: await read(item.offset + offset, byteLength, options.signal) })
  }
  await store.remove(id).catch((error) => {
    if (error.code !== 'IN_USE') throw error
  })
  return manifest
}

/** What was said of a model under the id that it had before. */
export async function relisted(store: Store, before: string, now: string): Promise<Uint8Array | undefined> {
  const bytes = await store.listing(before)
  const listing = bytes === undefined ? undefined : await readListing(bytes).catch(() => undefined)
  return listing === undefined ? undefined : makeListing({ ...listing, model: now })
}
