/** What people mean by a model's name: looked for in the store, in files, on servers and at peers. */
import { basename } from 'node:path'
import { ShoalError } from '../common/index.ts'
import {
  describe,
  hubNameText,
  type Manifest,
  type Model,
  type ModelOnDisk,
  makeListing,
  modelOf,
  readListing,
  resolveName,
  SourceError,
  type Store,
  type TransferProgress
} from '../models/index.ts'
import { relisted } from './hash-stored.ts'
import { type SearchComponents, searchManifest } from './manifest-search.ts'
import type { ModelFiles } from './model-files.ts'
import type { ModelNames } from './model-names.ts'
import type { Remotes } from './remotes.ts'

/** A model that somebody has named: what it is, and where its bytes are. */
export interface NamedModel extends Model {
  /** As it was named, in full. */
  readonly called: string
  /** All of it, in GGUF files on this machine. */
  readonly files?: readonly string[] | undefined
  /** Where whoever named it said that it is: `hf:...` or an address. */
  readonly place?: string | undefined
}

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: Partial<TransferProgress>) => void) | undefined
}

export interface FinderComponents extends SearchComponents {
  readonly store: () => Promise<Store>
  readonly files: ModelFiles
  readonly names: ModelNames
  readonly remotes: Remotes
}

export class ModelFinder {
  readonly #components: FinderComponents
  /** By what they are called: who has found one keeps to it. */
  readonly #found = new Map<string, NamedModel>()

  constructor(components: FinderComponents) {
    this.#components = components
  }

  /** See Library. */
  async find(text: string, options: FetchOptions): Promise<NamedModel> {
    const name = resolveName(text)
    switch (name.kind) {
      case 'path':
        return this.#file(name.path, name.path, options)
      case 'id':
        return this.#byId(name.id, options)
      case 'hub':
        return this.#remote(hubNameText(name.hub), hubNameText(name.hub), options)
      case 'url':
        return this.#remote(name.url, name.url, options)
      case 'catalogue':
        if ('path' in name.from) return this.#file(name.from.path, name.name, options)
        return this.#remote(name.name, hubNameText(name.from.hub), options).catch((error) => {
          throw ofCatalogue(name.name, error)
        })
    }
  }

  /** From now on the name means this. */
  async keep({ called, place }: NamedModel, manifest: Manifest): Promise<NamedModel> {
    await this.#components.names.set(called, manifest.id)
    const model = { ...(await described(manifest, called)), place }
    this.#found.set(called, model)
    return model
  }

  async #file(path: string, called: string, options: FetchOptions): Promise<NamedModel> {
    const { signal } = options
    return { ...(await this.#components.files.open(path, { signal, onProgress: inBytes(options) })), called }
  }

  /** What was found under this name before, if it has hashes; else what its server says now. */
  async #remote(called: string, place: string, options: FetchOptions): Promise<NamedModel> {
    const found = this.#found.get(called)
    if (found !== undefined) return found
    const { signal } = options
    const { names, remotes } = this.#components
    const store = await this.#components.store()
    const id = await names.idOf(called)
    let manifest = id === undefined ? undefined : (await stored(store, id, options))?.manifest
    if (manifest === undefined) {
      manifest = await this.#add(store, called, place, signal)
    } else if (manifest.pieces === undefined) {
      const published = await remotes.published(place, signal)
      if (published !== undefined) {
        await store.add(published, await relisted(store, manifest.id, published.id))
        manifest = published
      }
    }
    return this.keep({ ...(await described(manifest, called)), place }, manifest)
  }

  async #add(store: Store, name: string, place: string, signal: AbortSignal | undefined): Promise<Manifest> {
    const { manifest, model } = await this.#components.remotes.find(place, signal)
    const parts = model.files.map(({ size }, index) => ({ url: model.urls[index] as string, bytes: size }))
    const fields = {
      model: manifest.id,
      name,
      licence: licenceOf(manifest),
      sources: [{ parts }],
      codecs: []
    }
    await store.add(manifest, await makeListing(fields))
    return manifest
  }

  async #byId(id: string, options: FetchOptions): Promise<NamedModel> {
    const file = this.#components.files.get(id)
    if (file !== undefined) return { ...file.model, called: id }
    const store = await this.#components.store()
    if ((await stored(store, id, options)) === undefined) {
      const { manifest, listing } = await searchManifest(this.#components, id, options.signal)
      await store.add(manifest, listing)
    }
    const { manifest } = await store.get(id)
    const listing = await store.listing(id)
    const { name } = (listing && (await readListing(listing).catch(() => undefined))) ?? { name: id }
    return described(manifest, name, id)
  }
}

/** As whoever made the file says; '' where nobody has. */
export function licenceOf({ metadata }: Manifest): string {
  const licence = metadata.get('general.license')?.value
  return typeof licence === 'string' ? licence.replace(/\p{C}/gu, '').slice(0, 64) : ''
}

export function inBytes({ onProgress }: FetchOptions): (progress: { bytes: number; total: number }) => void {
  return ({ bytes, total }) => onProgress?.({ bytes, totalBytes: total })
}

async function described(manifest: Manifest, name: string, called = name): Promise<NamedModel> {
  const unread = async (): Promise<never> => {
    throw new Error('its tensors are in the store')
  }
  const model = describe(manifest, await modelOf(manifest, unread), basename(name))
  return { ...model, called, name: model.name.replace(/\p{C}/gu, '?') } // strangers may have named it
}

/** Undefined where it is not there. */
function stored(store: Store, id: string, options: FetchOptions): Promise<ModelOnDisk | undefined> {
  return store
    .get(id, { signal: options.signal, onProgress: inBytes(options) })
    .catch((error: ShoalError) => {
      if (error.code === 'MODEL') return undefined
      throw error
    })
}

/** What to do about a name that is good, and a server that is not. */
function ofCatalogue(called: string, error: Error): Error {
  if (!(error instanceof SourceError)) return error
  const ways = 'name a mirror of the hub with HF_ENDPOINT, or name the model by its id if another node has it'
  const advice = error.isPassing ? ` Try again later, ${ways}.` : ''
  const message = `${called} can't be found where it should be. ${error.message}${advice}`
  return new ShoalError(error.code, message, { cause: error })
}
