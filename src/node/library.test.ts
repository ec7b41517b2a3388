import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { TestHub } from '../../test/hub.ts'
import { tinyModel } from '../../test/models/index.ts'
import { writeGguf } from '../gguf/index.ts'
import { makeListing, openModel, type PartName } from '../models/index.ts'
import type { Library, LibraryInit, NamedModel } from './library.ts'
import { storedModel, storedModels } from './stored-models.ts'
import { libraryIn } from './testing.ts'

const NAME = 'hf:someone/story/story.gguf'
const BLOCK: ReadonlySet<PartName> = new Set<PartName>(['block-0'])

let folder: string
let hub: TestHub
/** On the hub. */
let remote: string
const libraries: Library[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-library-'))
  const repository = join(folder, 'hub', 'someone', 'story')
  await mkdir(repository, { recursive: true })
  remote = join(repository, 'story.gguf')
  await writeModel(remote, 'one')
  hub = await TestHub.start({ folder: join(folder, 'hub') })
})

afterEach(async () => {
  for (const library of libraries.splice(0)) await library.stop()
  await hub.close()
  await rm(folder, { recursive: true, force: true })
})

/** The same shape, other weights. */
async function writeModel(path: string, seed: string): Promise<void> {
  const chunks: Uint8Array[] = []
  await writeGguf({ write: async (bytes) => void chunks.push(bytes.slice()) }, tinyModel('llama', { seed }))
  await writeFile(path, Buffer.concat(chunks))
}

async function idOf(path: string): Promise<string> {
  const model = await openModel(path)
  await model.close()
  return model.id
}

/** Waits for nobody. All of them share one store. */
function library(init: Partial<LibraryInit> = {}): Library {
  const http = { endpoint: hub.endpoint, wait: async () => {} }
  const made = libraryIn(join(folder, 'store'), { http, ...init })
  libraries.push(made)
  return made
}

async function publish(): Promise<string> {
  const model = await openModel(remote)
  await model.close()
  await writeFile(`${remote}.manifest`, model.manifest.bytes)
  return model.id
}

describe('a file', () => {
  test('is hashed again only when it has changed', async () => {
    const here = library()
    const path = join(folder, 'here.gguf')
    await copyFile(remote, path)
    let read = 0
    const onProgress = (): void => {
      read += 1
    }
    const first = await here.find(path, { onProgress })
    const hashed = read
    expect([first.id, hashed > 0]).toEqual([await idOf(path), true])
    expect([(await here.find(path, { onProgress })).id, read]).toEqual([first.id, hashed])
    await writeModel(path, 'two')
    const second = await here.find(path, { onProgress })
    expect([second.id, second.id === first.id]).toEqual([await idOf(path), false])
    expect((await here.find(path)).id).toBe(second.id)
  })

  test('gives its pieces to the store', async () => {
    const here = library()
    const model = await here.find(remote)
    await here.fetch(model, BLOCK)
    expect(await storedModels(here)).toMatchObject([{ id: model.id, blocks: [0] }])
  })
})

describe('a name on the hub', () => {
  test('is what it was, also while the hub is away', async () => {
    const { id } = await library().find(NAME)
    hub.fail({ status: 503 }, { times: 1_000 })
    expect((await library().find(NAME)).id).toBe(id)
  })

  test('is the hashed model from when somebody has hashed it, and stays it', async () => {
    const before = await library().find(NAME)
    expect(before.manifest.pieces).toBe(undefined)
    const id = await publish()
    expect((await library().find(NAME)).id).toBe(id)
    hub.requests.length = 0
    expect([(await library().find(NAME)).id, hub.requests]).toEqual([id, []])
    expect((await library().listing(id))?.sources[0]?.parts[0]?.url).toBe(
      hub.url('someone/story', 'story.gguf')
    )
  })

  test('is not what a stranger lists under it', async () => {
    const other = join(folder, 'other.gguf')
    await writeModel(other, 'stranger')
    const { manifest, id, close } = await openModel(other)
    await close()
    const fields = { model: id, name: NAME, licence: '', sources: [], codecs: [] }
    await (await library().store).add(manifest, await makeListing(fields))
    expect((await library().find(NAME)).id).not.toBe(id)
  })

  test('whose unhashed file became another one gives no blocks of that', async () => {
    const model = await library().find(NAME)
    await writeModel(remote, 'two')
    await expect(library().fetch(model, BLOCK)).rejects.toMatchObject({ code: 'MODEL' })
  })

  test('whose hashed file became another one is not waited for', async () => {
    await publish()
    const model = await library().find(NAME)
    await writeModel(remote, 'two')
    await expect(library().fetch(model, BLOCK)).rejects.toMatchObject({ code: 'SOURCE' })
  })

  test('without its source says what to do', async () => {
    hub.fail({ status: 404 })
    await expect(library().find('llama3.2')).rejects.toThrow(
      /llama3\.2:3b-q4_k_m can't be found where it should be/
    )
    hub.fail({ status: 503 }, { times: 100 })
    await expect(library().find('llama3.2')).rejects.toThrow(/try again later.*HF_ENDPOINT.*by its id/is)
  })

  test('can be hashed once all of it is here, and its blocks are kept', async () => {
    const here = library()
    const found = await here.find(NAME)
    const model = await here.hashed(found)
    expect(model.id).toBe(await idOf(remote))
    expect(await storedModels(here)).toMatchObject([{ id: model.id, called: NAME, isHashed: true }])
    hub.requests.length = 0
    await here.fetch(model, new Set(model.manifest.items.map(({ part }) => part)))
    expect([(await here.find(NAME)).id, hub.requests]).toEqual([model.id, []])
  })
})

describe('an id', () => {
  test('that nobody has is not here, at once', async () => {
    await expect(library().find('ab'.repeat(32))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  test('of a manifest without a source can be fetched from nobody, at once', async () => {
    const { manifest, id, close } = await openModel(remote)
    await close()
    await (await library().store).add(manifest)
    const here = library()
    await expect(here.fetch(await here.find(id), BLOCK)).rejects.toMatchObject({ code: 'NO_SOURCE' })
  })

  test('is fetched from where it is listed, if that is the hub', async () => {
    const id = await publish()
    await library().find(NAME)
    const here = library()
    const model = await here.find(id)
    expect(model.place).toBe(undefined)
    await here.fetch(model, BLOCK)
    expect(await storedModels(here)).toMatchObject([{ id, blocks: [0] }])
  })

  test('is not fetched from where it is listed, if that is in a private network', async () => {
    const id = await publish()
    const other = await TestHub.start({ folder: join(folder, 'hub') })
    const sources = [{ parts: [{ url: other.url('someone/story', 'story.gguf'), bytes: 1 }] }]
    const { manifest } = await library().find(NAME)
    const listing = await makeListing({ model: id, name: 'story', licence: '', sources, codecs: [] })
    await (await library().store).add(manifest, listing)
    const here = library()
    await expect(here.fetch(await here.find(id), BLOCK)).rejects.toMatchObject({ code: 'URL' })
    expect(other.requests).toEqual([])
    await other.close()
  })
})

describe('seeds', () => {
  async function fetched(here: Library, name: string): Promise<NamedModel> {
    const model = await here.find(name)
    await here.fetch(model, BLOCK)
    return model
  }

  test('are models that have pieces which others can check', async () => {
    const here = library()
    await fetched(here, NAME)
    expect(here.seeds).toEqual([])
    const id = await publish()
    const again = library()
    await again.find(NAME)
    await again.look()
    expect(again.seeds).toEqual([])
    await fetched(again, NAME)
    expect(again.seeds).toEqual([id])
  })

  test('are only those that are meant to be', async () => {
    await publish()
    const here = library({ gives: () => false })
    await fetched(here, NAME)
    expect(here.seeds).toEqual([])
  })
})

describe('in the store', () => {
  test('a model goes by its name, its title and the beginning of its id', async () => {
    const here = library()
    const { id } = await here.find(NAME)
    for (const text of [NAME, 'HF:someone/story/story.gguf', 'tiny llama', id, id.slice(0, 6)]) {
      expect((await storedModel(here, text)).id).toBe(id)
    }
    await expect(storedModel(here, 'tiny lama')).rejects.toThrow(/Did you mean tiny llama\?/)
    await expect(storedModel(here, id.slice(0, 5))).rejects.toMatchObject({ code: 'MODEL' })
  })

  test('of two models with one title one has to be said', async () => {
    const here = library()
    await here.find(NAME)
    const other = join(folder, 'other.gguf')
    await writeModel(other, 'two')
    await here.fetch(await here.find(other), BLOCK)
    await expect(storedModel(here, 'tiny llama')).rejects.toThrow(
      /may be any of these models, name one: [0-9a-f]{12}, /
    )
  })
})
