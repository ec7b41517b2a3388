import { mkdir, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { PartName } from '../content.ts'
import {
  contentReader,
  type Manifest,
  makeProvisionalManifest,
  pieceTableOf,
  readManifest
} from '../manifest.ts'
import { openModel } from '../model-file.ts'
import { GgufPieces } from './gguf-pieces.ts'
import { Store } from './store.ts'
import type { ModelOnDisk } from './stored-model.ts'
import { allParts, changeByte, DEMO, fill, openPieces, temporaryFolder } from './testing.ts'

const BLOCKS = 8

async function openStore(folder: string): Promise<Store> {
  const store = await Store.open({ folder })
  onTestFinished(() => store.close())
  return store
}

/** The demo model, of which some parts are there. */
async function storeWith(
  ...parts: PartName[]
): Promise<{ folder: string; store: Store; model: ModelOnDisk; manifest: Manifest; source: GgufPieces }> {
  const { manifest, source } = await openPieces()
  const folder = await temporaryFolder()
  const store = await openStore(folder)
  await store.add(manifest)
  const model = await store.get(manifest.id)
  await fill(model, source, new Set(parts))
  return { folder, store, model, manifest, source }
}

test('a model that was added is there, also for others, with its listing', async () => {
  const { folder, store, manifest } = await storeWith()
  const other = await openStore(folder)
  expect((await other.get(manifest.id)).manifest.items).toEqual(manifest.items)
  expect(await other.listing(manifest.id)).toBeUndefined()
  for (const listing of ['one', 'another']) {
    await store.add(manifest, Buffer.from(listing))
    expect(Buffer.from((await other.listing(manifest.id)) ?? []).toString()).toBe(listing)
  }
  expect((await readdir(join(folder, 'models', manifest.id))).toSorted()).toEqual(['listing', 'manifest'])
})

test('pieces are kept as they came', async () => {
  const { folder, store, model, manifest, source } = await storeWith(
    'tokenizer',
    'globals',
    'head',
    'block-3'
  )
  const missing = new Set(model.missing(allParts(manifest)))
  const table = pieceTableOf(manifest)
  const indices = Array.from({ length: table.count }, (_, index) => index)
  const kept = indices.filter((index) => !missing.has(index))
  expect(new Set(kept.map((index) => table.at(index).item.part))).toEqual(
    new Set(['tokenizer', 'head', 'block-3'])
  )
  await store.close()
  const again = await (await openStore(folder)).get(manifest.id)
  await source.fetch(
    kept,
    async ({ index, bytes }) => expect(await again.read(index)).toEqual(bytes),
    new AbortController().signal
  )
  expect(again.bitfield).toEqual(model.bitfield)
  const bits = [...again.bitfield].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  expect(kept).toEqual(indices.filter((index) => bits[index] === '1'))
})

test('only intact pieces are kept', async () => {
  const { model, manifest, source } = await storeWith()
  const [index = 0] = model.missing(new Set(['block-2']))
  const good = await pieceOf(source, index)
  const bad = good.slice()
  bad[7] = (bad[7] as number) ^ 1
  for (const piece of [
    { index, bytes: bad },
    { index, bytes: good.subarray(1) },
    { index: index + 1, bytes: good },
    { index: -1, bytes: good },
    { index: 0.5, bytes: good },
    { index: manifest.pieces?.count ?? 0, bytes: good }
  ]) {
    await expect(model.write(piece)).rejects.toMatchObject({ code: 'PIECE' })
  }
  expect(model.has(index)).toBe(false)
  await expect(model.read(index)).rejects.toMatchObject({ code: 'PIECE' })
  await model.write({ index, bytes: good })
  await model.write({ index, bytes: good })
  expect(await model.read(index)).toEqual(good)
})

test('pieces may come several times at once', async () => {
  const { store, model, manifest, source } = await storeWith()
  const told: number[] = []
  model.onPiece((index) => told.push(index))
  const indices = [...piecesOf(manifest, 'block-0'), ...piecesOf(manifest, 'block-1')]
  const pieces = await Promise.all(indices.map((index) => pieceAt(source, index)))
  await Promise.all([...pieces, ...pieces.toReversed(), ...pieces].map((piece) => model.write(piece)))
  expect(told.toSorted((a, b) => a - b)).toEqual(indices)
  expect((await store.list())[0]?.blocks).toEqual([0, 1])
})

test('whoever listens is told of each piece once, whichever process wrote it', async () => {
  const { folder, model, manifest, source } = await storeWith('block-0')
  const other = await (await openStore(folder)).get(manifest.id)
  const told: number[] = []
  const stop = other.onPiece((index) => told.push(index))
  await fill(model, source, new Set(['block-1']))
  await fill(other, source, new Set(['block-1', 'block-2']))
  const expected = [1, 2].flatMap((block) => piecesOf(manifest, `block-${block}`))
  expect(told.toSorted((a, b) => a - b)).toEqual(expected)
  stop()
  await fill(other, source, new Set(['block-3']))
  expect(told.toSorted((a, b) => a - b)).toEqual(expected)
})

test('list says what is there', async () => {
  const { store, model, manifest, source } = await storeWith('block-1', 'block-2')
  await model.write(await pieceAt(source, piecesOf(manifest, 'block-5')[0] as number))
  const [summary, ...others] = await store.list()
  expect(others).toEqual([])
  expect(summary).toMatchObject({
    id: manifest.id,
    architecture: 'llama',
    blockCount: BLOCKS,
    blocks: [1, 2]
  })
  const there = [...piecesOf(manifest, 'block-1'), ...piecesOf(manifest, 'block-2')]
  const bytes = [...there, piecesOf(manifest, 'block-5')[0] as number].map(
    (index) => pieceTableOf(manifest).at(index).byteLength
  )
  expect(summary?.bytesThere).toBe(bytes.reduce((sum, length) => sum + length))
  expect(summary?.bytes).toBe(manifest.items.reduce((sum, item) => sum + item.byteLength, 0))
  expect(summary?.lastUsed).toBeGreaterThan(Date.now() - 60_000)
})

test('a model is removed when nobody uses it', async () => {
  const { folder, store, model, manifest, source } = await storeWith('block-3')
  const other = await openStore(folder)
  await other.get(manifest.id)
  for (const [user, words] of [
    [store, 'this node'],
    [other, 'another Shoal process']
  ] as const) {
    const span = await user.span(manifest.id, { start: 3, end: 4 })
    await expect(store.remove(manifest.id)).rejects.toMatchObject({ code: 'IN_USE' })
    await expect(store.remove(manifest.id)).rejects.toThrow(words)
    span.release()
  }
  await store.remove(manifest.id)
  expect(await readdir(join(folder, 'models'))).toEqual([])
  expect(model.missing(new Set(['block-3']))).toHaveLength(piecesOf(manifest, 'block-3').length)
  for (const each of [store, other]) {
    await expect(each.get(manifest.id)).rejects.toMatchObject({ code: 'MODEL' })
    expect(await each.list()).toEqual([])
  }
  await expect(fill(model, source, new Set(['block-4']))).rejects.toMatchObject({ code: 'MODEL' })
  await store.add(manifest)
  await fill(await store.get(manifest.id), source, new Set(['block-4']))
})

test('verifying finds what is damaged, and it is fetched anew', async () => {
  const { store, model, manifest, source } = await storeWith(...allParts((await openPieces()).manifest))
  const damaged = piecesOf(manifest, 'block-4')[2] as number
  const { position } = model.layout.at(damaged)
  await changeByte(join(model.folder, 'block-4.gguf'), position + 5)
  await rm(join(model.folder, 'block-6.gguf'))
  await truncate(join(model.folder, 'block-7.gguf'), 4096)
  await writeFile(join(model.folder, `.tmp-${crypto.randomUUID()}-3`), 'what a dead process left')
  const progress: number[] = []
  const { bad } = await store.verify(manifest.id, {
    onProgress: ({ bytes, total }) => progress.push(bytes / total)
  })
  expect(bad).toEqual([damaged, ...piecesOf(manifest, 'block-6'), ...piecesOf(manifest, 'block-7')])
  expect(progress.at(-1)).toBe(1)
  expect(progress).toEqual(progress.toSorted((a, b) => a - b))
  expect(model.missing(allParts(manifest))).toEqual(bad)
  expect(await fill(model, source, allParts(manifest))).toBe(bad.length)
  expect((await store.verify(manifest.id)).bad).toEqual([])
  expect((await readdir(model.folder)).filter((file) => file.startsWith('.'))).toEqual([])
  await expect(store.verify(manifest.id, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/)
})

test('all models are verified, whatever is wrong with one', async () => {
  const { folder, store, manifest } = await storeWith('block-4')
  const other = '0'.repeat(64)
  await mkdir(join(folder, 'models', other))
  const reports = await store.fsck()
  expect(reports.get(manifest.id)).toMatchObject({ bad: [] })
  expect(reports.get(other)).toMatchObject({ code: 'MODEL' })
})

test('a damaged piece is not given to others', async () => {
  const { model, manifest } = await storeWith('block-4')
  const [first = 0, second = 0] = piecesOf(manifest, 'block-4')
  await changeByte(join(model.folder, 'block-4.gguf'), model.layout.at(second).position)
  await model.read(first)
  await expect(model.read(second)).rejects.toMatchObject({ code: 'PIECE', message: /damaged on disk/ })
  expect([model.has(first), model.has(second)]).toEqual([true, false])
})

test('a model that nobody has hashed is kept as it comes', async () => {
  const file = await openModel(DEMO)
  onTestFinished(() => file.close())
  const provisional = readManifest((await makeProvisionalManifest(file.gguf)).bytes)
  const folder = await temporaryFolder()
  const store = await openStore(folder)
  await store.add(provisional)
  const model = await store.get(provisional.id)
  await fill(model, new GgufPieces(file, provisional), allParts(provisional))
  expect(model.missing(allParts(provisional))).toEqual([])
  expect((await store.verify(provisional.id)).bad).toEqual([])
  const read = contentReader(file.gguf)
  const { item, offset, byteLength } = pieceTableOf(provisional).at(3)
  expect(await model.read(3)).toEqual(await read(item, offset, byteLength))
  const span = await store.span(provisional.id, { start: 0, end: BLOCKS })
  expect(span.files.files).toHaveLength(1 + BLOCKS + 2)
  await truncate(join(model.folder, 'block-7.gguf'), 5000)
  expect((await store.verify(provisional.id)).bad).toEqual(piecesOf(provisional, 'block-7'))
})

test('files are sparse until they are filled, and as long as they will be', async () => {
  const { store, model, manifest } = await storeWith()
  const lease = await store.lease(manifest.id, new Set(['block-0', 'embedding']))
  for (const name of ['block-0', 'embedding'] as const) {
    const { byteLength, headerBytes } = model.layout.parts.get(name) ?? {}
    expect((await stat(join(model.folder, `${name}.gguf`))).size).toBe(byteLength)
    expect((headerBytes ?? 1) % 4096).toBe(0)
  }
  lease.release()
})

async function pieceOf(source: GgufPieces, index: number): Promise<Uint8Array> {
  return (await pieceAt(source, index)).bytes
}

async function pieceAt(source: GgufPieces, index: number): Promise<{ index: number; bytes: Uint8Array }> {
  const { promise, resolve } = Promise.withResolvers<{ index: number; bytes: Uint8Array }>()
  await source.fetch([index], resolve, new AbortController().signal)
  return promise
}

function piecesOf(manifest: Manifest, part: PartName): number[] {
  return pieceTableOf(manifest).of(manifest.items.filter((item) => item.part === part))
}
