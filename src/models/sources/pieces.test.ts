import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Fault, TestHub } from '../../../test/hub.ts'
import { writeModelFile } from '../../../test/models/file.ts'
import { tinyModel } from '../../../test/models/index.ts'
import { FileSource } from '../../common/index.ts'
import { type GgufModel, planGguf, readGguf } from '../../gguf/index.ts'
import { partsOf } from '../content.ts'
import type { PieceReceived } from '../contract.ts'
import {
  contentReader,
  itemsOf,
  type Manifest,
  makeManifest,
  makeProvisionalManifest,
  pieceTableOf,
  readManifest
} from '../manifest.ts'
import type { Piece, PieceTable } from '../pieces.ts'
import { HttpClient } from './http.ts'
import { cutter, HttpPieces, type HttpPiecesInit, rangesOf } from './pieces.ts'
import { locate, openRemote, type RemoteModel, remoteManifest } from './remote-model.ts'

const REPOSITORY = 'user/repo'
let folder: string
let hub: TestHub
let http: HttpClient
let local: GgufModel
let manifest: Manifest
let pieces: PieceTable

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-http-'))
  const root = join(folder, REPOSITORY)
  await mkdir(root, { recursive: true })
  const plan = tinyModel('llama', { blocks: 4, vocabulary: 600 })
  const path = await writeModelFile(root, 'model', plan)
  local = await readGguf(await FileSource.open(path))
  manifest = await makeManifest(local)
  pieces = manifest.pieces as PieceTable
  await writeModelFile(root, 'other', tinyModel('llama', { blocks: 4, vocabulary: 601 }))
  const same = { blocks: 4, vocabulary: 600, seed: 'another' }
  await writeModelFile(root, 'shaped-alike', tinyModel('llama', same))
  // In two parts, each with half of the tensors.
  const half = Math.ceil(plan.tensors.length / 2)
  const splits = [plan.tensors.slice(0, half), plan.tensors.slice(half)]
  for (const [index, tensors] of splits.entries()) {
    const metadata = new Map(index === 0 ? plan.metadata : [])
    metadata.set('split.no', { type: 'u16', value: index }).set('split.count', { type: 'u16', value: 2 })
    metadata.set('split.tensors.count', { type: 'i32', value: plan.tensors.length })
    await writeModelFile(root, `parts-0000${index + 1}-of-00002`, planGguf({ metadata, tensors }))
  }
})

beforeEach(async () => {
  hub = await TestHub.start({ folder })
  http = new HttpClient({ endpoint: hub.endpoint, wait: async () => {} })
})
afterEach(() => hub.close())
afterAll(async () => {
  await Promise.all(local.sources.map((source) => source.close()))
  await rm(folder, { recursive: true, force: true })
})

async function remote(file = 'model.gguf'): Promise<RemoteModel> {
  return openRemote(http, await locate(http, hub.url(REPOSITORY, file)))
}

async function sourceOf(file?: string, init?: HttpPiecesInit): Promise<HttpPieces> {
  return new HttpPieces(manifest, await remote(file), init)
}

/** Of all that came, the intact ones; no piece comes twice, and none incomplete. */
async function fetched(source: HttpPieces, indices: readonly number[]): Promise<Map<number, boolean>> {
  const came = new Map<number, boolean>()
  const onPiece = ({ index, bytes }: PieceReceived): void => {
    expect(came.has(index)).toBe(false)
    expect(bytes.byteLength).toBe(pieces.at(index).byteLength)
    came.set(index, pieces.isIntact(index, bytes))
  }
  await source.fetch(indices, onPiece, new AbortController().signal)
  return came
}

const all = (): number[] => Array.from({ length: pieces.count }, (_, index) => index)

describe('pieces over HTTP', () => {
  test.each(['model.gguf', 'parts-00001-of-00002.gguf'])('of %s are all there, and intact', async (file) => {
    for (const init of [{}, { rangeBytes: 20_000, parallel: 3 }, { rangeBytes: 1 }]) {
      const came = await fetched(await sourceOf(file, init), all())
      expect(came.size).toBe(pieces.count)
      expect([...came.values()].every(Boolean)).toBe(true)
    }
  })

  test('of one block cost its bytes and no more', async () => {
    const source = await sourceOf()
    const before = http.bytesReceived
    const block = itemsOf(manifest, new Set(['block-2'] as const))
    const came = await fetched(source, pieces.of(block))
    expect([...came.values()].every(Boolean)).toBe(true)
    const bytes = block.reduce((sum, { byteLength }) => sum + byteLength, 0)
    expect((http.bytesReceived - before) / bytes).toBeLessThan(1.02)
    expect(hub.requests).toHaveLength(2) // the header, and the block at once
  })

  test.each<[string, Fault]>([
    ['a reset in mid-body', { resetAfter: 30_001 }],
    ['a short body', { short: 30_001 }],
    ['429', { status: 429 }],
    ['500', { status: 500 }]
  ])('come nevertheless after %s', async (_, fault) => {
    const source = await sourceOf(undefined, { parallel: 1 })
    hub.fail(fault, { times: 2 })
    const came = await fetched(source, all())
    expect([...came.values()].filter(Boolean)).toHaveLength(pieces.count)
  })

  test('that are wrong are handed on for the store to see, in their length', async () => {
    const source = await sourceOf()
    hub.fail({ corrupt: true }, { times: 100 })
    const blocks = pieces.of(itemsOf(manifest, new Set(['block-0'] as const)))
    expect([...(await fetched(source, blocks)).values()].some(Boolean)).toBe(false)
  })

  test.each<[string, Fault, string]>([
    ['gone', { status: 404 }, 'NOT_FOUND'],
    ['replaced', { headers: { etag: '"other"' } }, 'CHANGED'],
    ['given whole only', { whole: true }, 'NO_RANGES']
  ])('of a file that is %s end the source at once', async (_, fault, code) => {
    const source = await sourceOf(undefined, { rangeBytes: 20_000 })
    hub.fail(fault, { times: 100 })
    await expect(fetched(source, all())).rejects.toMatchObject({ code })
    expect(hub.requests.length).toBeLessThan(8)
  })

  test('stop when the signal fires', async () => {
    const source = await sourceOf(undefined, { rangeBytes: 20_000, parallel: 2 })
    const stop = new AbortController()
    let count = 0
    const onPiece = (): void => {
      count += 1
      stop.abort(new Error('enough'))
    }
    await expect(
      source.fetch(pieces.of(itemsOf(manifest, new Set(['embedding'] as const))), onPiece, stop.signal)
    ).rejects.toThrow('enough')
    expect(count).toBe(1)
  })

  test('of another model are refused before any is fetched', async () => {
    await expect(sourceOf('other.gguf')).rejects.toThrow(/is another model \("the tokenizer" differs\)/)
    const alike = await sourceOf('shaped-alike.gguf')
    const came = await fetched(alike, pieces.of(itemsOf(manifest, new Set(['block-0'] as const))))
    expect([...came.values()].some(Boolean)).toBe(false)
  })

  test('that nobody has hashed are there, too', async () => {
    const model = await remote()
    const provisional = await remoteManifest(http, model)
    const table = pieceTableOf(provisional)
    const read = contentReader(local)
    const came: number[] = []
    const waiting: Promise<void>[] = []
    const compare = async ({ index, bytes }: PieceReceived): Promise<void> => {
      const { item, offset, byteLength } = table.at(index)
      expect(Buffer.compare(bytes, await read(item, offset, byteLength))).toBe(0)
      came.push(index)
    }
    const wanted = table.of(itemsOf(provisional, partsOf(provisional.items, { start: 1, end: 4 }, 4)))
    const onPiece = (piece: PieceReceived): void => void waiting.push(compare(piece))
    await new HttpPieces(provisional, model).fetch(wanted, onPiece, new AbortController().signal)
    await Promise.all(waiting)
    expect(came.toSorted((a, b) => a - b)).toEqual(wanted)
  })
})

describe('the manifest of a remote model', () => {
  test('is the one beside it', async () => {
    const beside = join(folder, REPOSITORY, 'model.gguf.manifest')
    await writeFile(beside, manifest.bytes)
    expect((await remoteManifest(http, await remote(), { id: manifest.id })).id).toBe(manifest.id)
    await writeFile(beside, 'none')
    await expect(remoteManifest(http, await remote())).rejects.toMatchObject({ code: 'MANIFEST' })
    await rm(beside)
  })

  test('is else a provisional one, for which little is read', async () => {
    const model = await remote()
    const before = http.bytesReceived
    const provisional = await remoteManifest(http, model)
    expect(provisional.id).toBe((await makeProvisionalManifest(local)).id)
    expect(http.bytesReceived - before).toBeLessThanOrEqual(4_096 * local.tensors.size)
  })

  test('may be brought along, and has to be that of the model asked for', async () => {
    const model = await remote()
    const brought = { bytes: manifest.bytes, id: manifest.id }
    expect(readManifest((await remoteManifest(http, model, brought)).bytes).id).toBe(manifest.id)
    const id = createHash('sha256').digest('hex')
    await expect(remoteManifest(http, model, { id })).rejects.toMatchObject({ code: 'MODEL' })
  })
})

describe('ranges', () => {
  const item = { name: 'x', part: 'globals' as const, offset: 0, byteLength: 0 }
  const place = (index: number, file: number, offset: number, byteLength: number) => ({
    piece: { index, item, offset: 0, byteLength } satisfies Piece,
    file,
    offset
  })
  /** Lengths of pieces and gaps, one after the other in each file. */
  const layouts = fc.array(
    fc.record({
      file: fc.nat(2),
      gap: fc.constantFrom(0, 31, 4_096, 4_097, 90_000),
      byteLength: fc.integer({ min: 1, max: 5_000 })
    }),
    { maxLength: 30 }
  )

  test('have every piece once, whole, in order, and no more than padding between', () => {
    const property = fc.property(
      layouts,
      fc.integer({ min: 1, max: 20_000 }),
      fc.nat(),
      (layout, rangeBytes, seed) => {
        const ends = [0, 0, 0]
        const places = layout.map(({ file, gap, byteLength }, index) => {
          const offset = (ends[file] as number) + gap
          ends[file] = offset + byteLength
          return place(index, file, offset, byteLength)
        })
        const shuffled = places.toSorted(
          (a, b) => ((a.piece.index * seed) % 7) - ((b.piece.index * seed) % 7)
        )
        const ranges = rangesOf(shuffled, rangeBytes)
        expect(
          ranges.flatMap((range) => range.places.map(({ piece }) => piece.index)).toSorted((a, b) => a - b)
        ).toEqual(places.map(({ piece }) => piece.index))
        for (const range of ranges) {
          if (range.places.length > 1) expect(range.byteLength).toBeLessThanOrEqual(rangeBytes)
          let at = range.offset
          for (const each of range.places) {
            expect(each.file).toBe(range.file)
            expect(each.offset - at).toBeGreaterThanOrEqual(0)
            expect(each.offset - at).toBeLessThanOrEqual(4_096)
            at = each.offset + each.piece.byteLength
          }
          expect(at).toBe(range.offset + range.byteLength)
        }
      }
    )
    fc.assert(property, { seed: 11 })
  })

  test('are cut into their pieces, however their bytes come', () => {
    const places = [place(0, 0, 100, 10), place(1, 0, 110, 5), place(2, 0, 130, 20)]
    const range = { file: 0, offset: 100, byteLength: 50, places }
    const bytes = Uint8Array.from({ length: 50 }, (_, index) => index)
    const property = fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 20 }), (cuts) => {
      const came: PieceReceived[] = []
      const take = cutter(range, (piece) => came.push(piece))
      const edges = [0, ...cuts.toSorted((a, b) => a - b), 50]
      for (const [index, end] of edges.slice(1).entries()) take(bytes.subarray(edges[index], end))
      expect(came.map(({ index }) => index)).toEqual([0, 1, 2])
      for (const [index, { offset, piece }] of places.entries()) {
        expect(came[index]?.bytes).toEqual(bytes.subarray(offset - 100, offset - 100 + piece.byteLength))
      }
    })
    fc.assert(property, { seed: 12 })
  })
})
