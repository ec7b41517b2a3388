import { afterEach, describe, expect, test, vi } from 'vitest'
import type { PartName } from '../content.ts'
import type { StoredModel } from '../contract.ts'
import type { SeederInit } from './seeder.ts'
import { type ExchangeNode, exchangeNode, MemoryModel, testModel } from './testing.ts'

const model = await testModel()
const { manifest, pieces, allParts } = model
const { id } = manifest
const nodes: ExchangeNode[] = []

async function node(
  stored: StoredModel | undefined,
  init: SeederInit & { listing?: Uint8Array } = {}
): Promise<ExchangeNode> {
  const made = await exchangeNode((asked) => (asked === id ? stored : undefined), {
    seed: nodes.length + 1,
    ...init
  })
  nodes.push(made)
  return made
}

function whole(): MemoryModel {
  return new MemoryModel(model, () => true)
}

function open(from: ExchangeNode, to: ExchangeNode): Promise<unknown> {
  return from.exchange.open(to.host.peerId, to.host.addresses, id)
}

afterEach(async () => {
  await Promise.all(nodes.map(({ exchange }) => exchange.stop()))
  await Promise.all(nodes.splice(0).map(({ host }) => host.stop()))
})

describe('a piece exchange', () => {
  test('fetches a span of the middle, and nothing else', async () => {
    const seeder = await node(whole())
    const stored = new MemoryModel(model)
    const leecher = await node(stored)
    await open(leecher, seeder)
    const parts = new Set<PartName>(['globals', 'block-1', 'block-2'])
    const wanted = stored.missing(parts)
    await leecher.exchange.fetch(stored, { parts })
    expect(stored.bytes.flatMap((bytes, index) => (bytes === undefined ? [] : [index]))).toEqual(wanted)
    for (const index of wanted) expect(stored.bytes[index]).toEqual(model.content[index])
  })

  test('gives manifests and listings', async () => {
    const seeder = await node(whole(), { listing: Uint8Array.of(1, 2) })
    const other = await node(undefined)
    const at = [seeder.host.peerId, seeder.host.addresses] as const
    expect((await other.exchange.fetchManifest(...at, id)).id).toBe(id)
    expect(await other.exchange.fetchListing(...at, id)).toEqual(Uint8Array.of(1, 2))
    await expect(other.exchange.fetchManifest(...at, 'ab'.repeat(32))).rejects.toMatchObject({
      code: 'REFUSED'
    })
  })

  test('is one stream per peer and model, also when both open one at once', async () => {
    const [a, b] = [await node(whole()), await node(new MemoryModel(model))]
    await Promise.all([open(a, b), open(b, a)])
    await open(a, b)
    expect(a.exchange.peersOf(id)).toEqual([b.host.peerId])
    expect(b.exchange.peersOf(id)).toEqual([a.host.peerId])
  })

  test('ends a model’s streams, but those that it takes from', async () => {
    const stored = new MemoryModel(model)
    const [a, b] = [await node(stored), await node(whole(), { bytesPerSecond: 2_000_000 })]
    await open(a, b)
    const fetched = a.exchange.fetch(stored, { parts: allParts })
    await a.exchange.close(id)
    await fetched
    expect(stored.missing(allParts)).toEqual([])
    expect(b.exchange.seeder.bytesSent.get(id)).toBeGreaterThanOrEqual(
      pieces.of(manifest.items).reduce((sum, index) => sum + pieces.at(index).byteLength, 0)
    )
    await a.exchange.close(id)
    await vi.waitFor(() => expect([a.exchange.peersOf(id), b.exchange.peersOf(id)]).toEqual([[], []]))
  })

  test('goes both ways on one stream, while both fetch', async () => {
    const [even, odd] = [0, 1].map((rest) => new MemoryModel(model, (index) => index % 2 === rest))
    const [a, b] = [await node(even), await node(odd)]
    await open(a, b)
    await Promise.all([
      a.exchange.fetch(even as MemoryModel, { parts: allParts }),
      b.exchange.fetch(odd as MemoryModel, { parts: allParts })
    ])
    expect([even, odd].map((stored) => stored?.missing(allParts))).toEqual([[], []])
  })

  test('passes on what comes while it is fetched', async () => {
    const stores = [new MemoryModel(model), new MemoryModel(model)] as const
    const [seeder, first, second] = [await node(whole()), await node(stores[0]), await node(stores[1])]
    await open(first, seeder)
    await open(second, first)
    // The second has the first alone, which has nothing yet.
    const fetches = [
      second.exchange.fetch(stores[1], { parts: allParts }),
      first.exchange.fetch(stores[0], { parts: allParts })
    ]
    await Promise.all(fetches)
    expect(stores[1].missing(allParts)).toEqual([])
  })

  test('keeps to its upload cap', async () => {
    const seeder = await node(whole(), { bytesPerSecond: 1_000_000 })
    const stored = new MemoryModel(model)
    const leecher = await node(stored)
    await open(leecher, seeder)
    const start = performance.now()
    await leecher.exchange.fetch(stored, { parts: allParts })
    const bytes = pieces.of(manifest.items).reduce((sum, index) => sum + pieces.at(index).byteLength, 0)
    expect(performance.now() - start).toBeGreaterThan(bytes / 1_000 - 150) // what it may send at once
  })

  test('gives each piece once before it gives one twice, and the others exchange them', async () => {
    let reads = 0
    const seeded = whole()
    const read = seeded.read.bind(seeded)
    seeded.read = (index) => {
      reads += 1
      return read(index)
    }
    const seeder = await node(seeded, { bytesPerSecond: 1_000_000 })
    const stores = [1, 2, 3].map(() => new MemoryModel(model))
    const leechers = await Promise.all(stores.map((stored) => node(stored)))
    for (const [index, leecher] of leechers.entries()) {
      for (const other of [seeder, ...leechers.slice(index + 1)]) await open(leecher, other)
    }
    await Promise.all(
      leechers.map(({ exchange }, index) => exchange.fetch(stores[index] as MemoryModel, { parts: allParts }))
    )
    for (const stored of stores) expect(stored.missing(allParts)).toEqual([])
    expect(reads).toBeLessThan(1.5 * pieces.count)
  })

  test('cuts who gives bad pieces, for a while', async () => {
    const bad = whole()
    for (const [index, bytes] of bad.bytes.entries()) bad.bytes[index] = bytes?.map((byte) => byte ^ 1)
    const stored = new MemoryModel(model)
    const leecher = await node(stored)
    const poisoner = await node(bad)
    for (const other of [poisoner, await node(whole()), await node(whole())]) await open(leecher, other)
    const cut: string[] = []
    await leecher.exchange.fetch(stored, { parts: allParts, onBadSource: ({ name }) => cut.push(name) })
    expect(cut).toEqual([poisoner.host.peerId])
    for (const [index, bytes] of stored.bytes.entries()) expect(bytes).toEqual(model.content[index])
    expect(leecher.exchange.peersOf(id)).not.toContain(poisoner.host.peerId)
    await expect(open(leecher, poisoner)).rejects.toMatchObject({ code: 'BANNED' })
    await expect(open(poisoner, leecher)).rejects.toMatchObject({ code: 'REFUSED' })
  })
})
