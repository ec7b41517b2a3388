import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TestHub } from '../../../test/hub.ts'
import { ShoalError, systemClock } from '../../common/index.ts'
import { type PartName, partsOf } from '../content.ts'
import type { PieceSource } from '../contract.ts'
import { Transfer } from '../exchange/transfer.ts'
import { itemsOf, type Manifest } from '../manifest.ts'
import { openModel } from '../model-file.ts'
import { Store } from '../store/index.ts'
import { fetchPieces } from './fetch-pieces.ts'
import { HttpClient } from './http.ts'
import { HttpPieces } from './pieces.ts'
import { locate, openRemote, type RemoteModel, remoteManifest } from './remote-model.ts'

const REPOSITORY = 'shoal/demo-GGUF'
const SPAN = { start: 2, end: 5 }
let folder: string
let hub: TestHub
let http: HttpClient
let store: Store
/** Of the hub's file, all of it hashed. */
let manifest: Manifest

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-fetch-'))
  await mkdir(join(folder, REPOSITORY), { recursive: true })
  await copyFile('models/demo.gguf', join(folder, REPOSITORY, 'demo-Q8_0.gguf'))
  const model = await openModel('models/demo.gguf')
  manifest = model.manifest
  await model.close()
})

let runs = 0
beforeEach(async () => {
  hub = await TestHub.start({ folder, signed: true })
  http = new HttpClient({ endpoint: hub.endpoint, wait: async () => {} })
  store = await Store.open({ folder: join(folder, `store-${runs++}`) })
})
afterEach(async () => {
  await store.close()
  await hub.close()
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function remote(): Promise<RemoteModel> {
  return openRemote(http, await locate(http, `hf:${REPOSITORY}:Q8_0`))
}

function bytesOf(of: Manifest, parts: ReadonlySet<PartName>): number {
  return itemsOf(of, parts).reduce((sum, { byteLength }) => sum + byteLength, 0)
}

describe('a model that only a server has', () => {
  test('is read and cut from there, and no more of it than the span', async () => {
    const model = await remote()
    const provisional = await remoteManifest(http, model)
    expect(provisional.pieces).toBeUndefined()
    await store.add(provisional)
    const stored = await store.get(provisional.id)
    const parts = partsOf(provisional.items, SPAN, provisional.blockCount)
    const before = hub.bytesSent
    const progress: number[] = []
    await fetchPieces(stored, new HttpPieces(provisional, model), parts, {
      onProgress: ({ bytes, total }) => progress.push(bytes / total)
    })
    expect((hub.bytesSent - before) / bytesOf(provisional, parts)).toBeLessThan(1.02)
    expect(progress.at(-1)).toBe(1)
    const span = await store.span(provisional.id, SPAN)
    span.release()
  })

  test('keeps what came before it failed, and fetches only the rest', async () => {
    const model = await remote()
    await store.add(manifest)
    const stored = await store.get(manifest.id)
    const all = new Set(manifest.items.map(({ part }) => part))
    const source = new HttpPieces(manifest, model, { rangeBytes: 64 * 1024, parallel: 1 })
    hub.fail({}, { times: 3, path: /gguf/ })
    hub.fail({ status: 404 }, { times: 100, path: /gguf/ })
    await expect(fetchPieces(stored, source, all)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    const missing = stored.missing(all).length
    expect(missing).toBeGreaterThan(0)
    expect(missing).toBeLessThan(manifest.pieces?.count ?? 0)
    hub.heal()
    const came: number[] = []
    stored.onPiece((index) => came.push(index))
    await fetchPieces(stored, source, all)
    expect(came).toHaveLength(missing)
    expect((await store.verify(manifest.id)).bad).toEqual([])
  })

  test('whose bytes are wrong is noticed, and nothing of it is kept', async () => {
    await store.add(manifest)
    const stored = await store.get(manifest.id)
    const source = new HttpPieces(manifest, await remote())
    hub.fail({ corrupt: true }, { times: 100 })
    const fetching = fetchPieces(stored, source, new Set(['block-3'] as const))
    await expect(fetching).rejects.toMatchObject({ code: 'PIECE' })
    expect(stored.bitfield.every((byte) => byte === 0)).toBe(true)
  })

  test('that a source gives up on is said to be missing', async () => {
    await store.add(manifest)
    const stored = await store.get(manifest.id)
    const nothing: PieceSource = {
      ...{ name: 'nothing', kind: 'http' as const, has: () => true },
      ...{ fetch: async () => {}, close: async () => {} }
    }
    await expect(fetchPieces(stored, nothing, new Set(['block-3'] as const))).rejects.toMatchObject({
      code: 'UNAVAILABLE'
    })
  })

  test('is left when the signal fires', async () => {
    await store.add(manifest)
    const stored = await store.get(manifest.id)
    const signal = AbortSignal.abort(new Error('enough'))
    const fetching = fetchPieces(stored, new HttpPieces(manifest, await remote()), new Set(['block-3']), {
      signal
    })
    await expect(fetching).rejects.toThrow('enough')
  })
})

test('a transfer drops a server whose bytes are wrong, and goes on with another', async () => {
  const other = await TestHub.start({ folder })
  const good = new HttpClient({ endpoint: other.endpoint, wait: async () => {} })
  await store.add(manifest)
  const model = await store.get(manifest.id)
  const parts = partsOf(manifest.items, SPAN, manifest.blockCount)
  const bad = new HttpPieces(manifest, await remote())
  hub.fail({ corrupt: true }, { times: 1_000, path: /gguf/ })
  const dropped: PieceSource[] = []
  const onBadSource = (source: PieceSource): void => void dropped.push(source)
  const transfer = new Transfer({ model, clock: systemClock, random: () => 0.5 }, { parts, onBadSource })
  transfer.add(bad)
  transfer.add(
    new HttpPieces(
      manifest,
      await openRemote(good, await locate(good, other.url(REPOSITORY, 'demo-Q8_0.gguf')))
    )
  )
  await transfer.run()
  expect(dropped).toEqual([bad])
  expect(model.missing(parts)).toEqual([])
  expect((await store.verify(manifest.id)).bad).toEqual([])
  await other.close()
})

test('a file that is no model says so', async () => {
  await writeFile(join(folder, REPOSITORY, 'no-Q4_0.gguf'), 'not found'.repeat(100))
  const opening = openRemote(http, await locate(http, `hf:${REPOSITORY}:Q4_0`))
  await expect(opening).rejects.toBeInstanceOf(ShoalError)
})
