import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { tinyModel } from '../../test/models/index.ts'
import { memorySource, planGguf, readGguf, writeGguf } from '../gguf/index.ts'
import { partsOf, TOKENIZER } from './content.ts'
import {
  itemsOf,
  type Manifest,
  makeManifest,
  makeProvisionalManifest,
  modelOf,
  readManifest
} from './manifest.ts'
import type { PieceTable } from './pieces.ts'

type Gguf = Awaited<ReturnType<typeof readGguf>>

async function fileOf(init: Parameters<typeof planGguf>[0]): Promise<Uint8Array> {
  const plan = planGguf(init)
  const bytes = new Uint8Array(plan.byteLength)
  let length = 0
  await writeGguf(
    {
      write: async (chunk) => {
        bytes.set(chunk, length)
        length += chunk.byteLength
      }
    },
    plan
  )
  return bytes
}

async function modelWith(
  change: (init: Parameters<typeof planGguf>[0]) => Parameters<typeof planGguf>[0]
): Promise<Gguf> {
  return readGguf(memorySource(await fileOf(change(tinyModel('llama', { blocks: 3 })))))
}

const model = await modelWith((init) => init)
const manifest = await makeManifest(model)
const pieces = manifest.pieces as PieceTable

/** All of the content, put together from the model's file. */
async function contentOf(of: Manifest, from: Gguf): Promise<Uint8Array> {
  const bytes = new Uint8Array(of.byteLength)
  for (const { name, offset, tensor } of of.items) {
    const stored = from.tensors.get(name)
    if (tensor === undefined || stored === undefined) continue
    bytes.set(await memorySourceOf(from).read(stored.offset, stored.byteLength), offset)
  }
  return bytes
}

function memorySourceOf({ sources }: Gguf): Gguf['sources'][number] {
  return sources[0] as Gguf['sources'][number]
}

describe('a manifest', () => {
  test('says the same of the same model, in whatever order it is stored', async () => {
    const reversed = await modelWith(({ metadata, tensors }) => ({
      metadata: new Map([...metadata].reverse()),
      tensors: tensors.toReversed()
    }))
    expect((await makeManifest(reversed)).id).toBe(manifest.id)
    expect(manifest.id).toBe(createHash('sha256').update(manifest.bytes).digest('hex'))
  })

  test('differs where one byte does', async () => {
    const bytes = await fileOf(tinyModel('llama', { blocks: 3 }))
    bytes[bytes.length - 40] = (bytes[bytes.length - 40] as number) ^ 1
    expect((await makeManifest(await readGguf(memorySource(bytes)))).id).not.toBe(manifest.id)
  })

  test('is read as it was made', () => {
    const read = readManifest(manifest.bytes)
    expect(read.id).toBe(manifest.id)
    expect(read.items).toEqual(manifest.items)
    expect([...read.metadata]).toEqual([...manifest.metadata])
    expect(read).toMatchObject({ architecture: 'llama', blockCount: 3, tokenizer: manifest.tokenizer })
  })

  test('has pieces that cross no tensor and cover all of them', () => {
    const { items } = manifest
    const covered = new Map(items.map(({ name }) => [name, 0]))
    for (let index = 0; index < pieces.count; index++) {
      const { item, offset, byteLength } = pieces.at(index)
      expect(offset).toBe(covered.get(item.name))
      covered.set(item.name, offset + byteLength)
    }
    for (const { name, byteLength } of items) expect(covered.get(name)).toBe(byteLength)
    expect(pieces.of(items)).toHaveLength(pieces.count)
  })

  test('tells good pieces from bad ones', async () => {
    const content = await contentOf(manifest, model)
    const last = pieces.count - 1
    const { item, offset, byteLength } = pieces.at(last)
    const bytes = content.slice(item.offset + offset, item.offset + offset + byteLength)
    expect(pieces.isIntact(last, bytes)).toBe(true)
    expect(pieces.isIntact(last, bytes.subarray(1))).toBe(false)
    bytes[0] = (bytes[0] as number) ^ 1
    expect(pieces.isIntact(last, bytes)).toBe(false)
  })

  test('gives the model back', async () => {
    const content = await contentOf(manifest, model)
    const again = await modelOf(manifest, async (offset, length) => content.slice(offset, offset + length))
    expect([...again.tensors.keys()].sort()).toEqual([...model.tensors.keys()].sort())
    for (const { name, offset, byteLength } of again.tensors.values()) {
      const stored = model.tensors.get(name)
      const bytes = await memorySourceOf(model).read(stored?.offset ?? 0, stored?.byteLength ?? 0)
      expect(content.subarray(offset, offset + byteLength)).toEqual(bytes)
    }
  })

  test('has blocks side by side', () => {
    const parts = [...new Set(manifest.items.map(({ part }) => part))]
    expect(parts.filter((part) => part.startsWith('block'))).toEqual(['block-0', 'block-1', 'block-2'])
    expect(manifest.items[0]?.name).toBe(TOKENIZER)
    const middle = itemsOf(manifest, partsOf(manifest.items, { start: 1, end: 2 }, 3))
    expect(middle.every(({ part }) => ['globals', 'block-1'].includes(part))).toBe(true)
  })

  test('without hashes says so', async () => {
    const provisional = await makeProvisionalManifest(model)
    expect(provisional.pieces).toBeUndefined()
    expect(provisional.id).not.toBe(manifest.id)
    expect(readManifest(provisional.bytes).id).toBe(provisional.id)
  })

  test.each([
    ['general.alignment', 2 ** 20, 'aligned to 1048576 bytes'],
    ['llama.block_count', 4_000_000_000, '4000000000 blocks'],
    ['llama.block_count', 0, '0 blocks']
  ])('with %s %d is refused', async (key, value, words) => {
    const odd = await modelWith(({ metadata, tensors }) => ({
      metadata: new Map([...metadata, [key, { type: 'u32', value }]]),
      tensors
    }))
    await expect(makeManifest(odd)).rejects.toThrow(words)
  })

  test('whose tokenizer says something of the model is refused', async () => {
    const { header } = planGguf({
      metadata: new Map([['llama.block_count', { type: 'u32', value: 1 }]]),
      tensors: []
    })
    const read = async (): Promise<Uint8Array> => new Uint8Array(0)
    await expect(modelOf(manifest, read, header)).rejects.toThrow('more than a tokenizer may')
  })

  test('that is none is refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.nat(manifest.bytes.byteLength - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = manifest.bytes.slice()
        bytes[at] = (bytes[at] as number) ^ change
        let id: string | undefined
        try {
          id = readManifest(bytes).id
        } catch (error) {
          expect((error as { code?: string }).code).toBe('MANIFEST')
        }
        expect(id).not.toBe(manifest.id)
      }),
      { seed: 5, numRuns: 2_000 }
    )
    expect(() => readManifest(new Uint8Array(0))).toThrow('no manifest')
    expect(() => readManifest(manifest.bytes.subarray(0, -1))).toThrow('no manifest')
  })
})
