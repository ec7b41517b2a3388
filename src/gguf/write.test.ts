import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type GgufPlan,
  type Metadata,
  type MetadataValue,
  memorySource,
  planGguf,
  readGguf,
  type Scalar,
  type ScalarType,
  TENSOR_TYPES,
  type TensorToWrite,
  tensorByteLength,
  writeGguf
} from './index.ts'
import { bytesOf } from './testing.ts'
import { decodeText, encodeText } from './text.ts'

const MIB = 1024 * 1024

describe('what is written is read back', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => decodeText(bytes))
  )
  const scalars: Readonly<Record<ScalarType, fc.Arbitrary<Scalar>>> = {
    u8: fc.integer({ min: 0, max: 0xff }),
    i8: fc.integer({ min: -0x80, max: 0x7f }),
    u16: fc.integer({ min: 0, max: 0xffff }),
    i16: fc.integer({ min: -0x8000, max: 0x7fff }),
    u32: fc.integer({ min: 0, max: 0xffffffff }),
    i32: fc.integer({ min: -0x80000000, max: 0x7fffffff }),
    u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    i64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    f32: fc.float(),
    f64: fc.double(),
    bool: fc.boolean(),
    string: text
  }
  const types = Object.keys(scalars) as ScalarType[]
  const value: fc.Arbitrary<MetadataValue> = fc.constantFrom(...types).chain((type) =>
    fc.oneof(
      scalars[type].map((scalar) => ({ type, value: scalar })),
      fc
        .array(scalars[type], { maxLength: 5 })
        .map((items) => ({ type: 'array' as const, itemType: type, value: items }))
    )
  )
  const key = text.filter((name) => name !== '' && name !== 'general.alignment' && !name.startsWith('split.'))
  const tensor: fc.Arbitrary<TensorToWrite> = fc
    .record({
      name: text.filter((name) => name !== ''),
      type: fc.constantFrom(...Object.keys(TENSOR_TYPES)),
      blocks: fc.integer({ min: 1, max: 3 }),
      dims: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
      seed: fc.nat(255)
    })
    .map(({ name, type, blocks, dims, seed }) => {
      const shape = [blocks * TENSOR_TYPES[type]!.blockSize, ...dims]
      return { name, type, dims: shape, data: new Uint8Array(tensorByteLength(type, shape)).fill(seed) }
    })
  const file = fc.record({
    entries: fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name, maxLength: 8 }),
    tensors: fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 5 }),
    alignment: fc.constantFrom(undefined, 1, 8, 256)
  })

  it('keys, tensors and bytes, and the same once more', async () => {
    await fc.assert(
      fc.asyncProperty(file, async ({ entries, tensors, alignment }) => {
        const metadata: Metadata = new Map(entries)
        if (alignment !== undefined) metadata.set('general.alignment', { type: 'u32', value: alignment })
        const plan = planGguf({ metadata, tensors })
        const bytes = await bytesOf(plan)
        const model = await readGguf(memorySource(bytes))
        expect([...model.metadata]).toEqual([...metadata])
        expect([...model.tensors.keys()]).toEqual(tensors.map(({ name }) => name))
        expect(model.alignment).toBe(alignment ?? 32)
        const again: TensorToWrite[] = []
        for (const { data, name, type, dims } of tensors) {
          const found = model.tensors.get(name)!
          expect(found).toMatchObject({ type, dims })
          expect(found.offset % model.alignment).toBe(0)
          const read = bytes.subarray(found.offset, found.offset + found.byteLength)
          expect(Buffer.compare(read, data as Uint8Array)).toBe(0)
          again.push({ name, type, dims, data: { source: memorySource(bytes), offset: found.offset } })
        }
        const copy = await bytesOf(planGguf({ metadata: model.metadata, tensors: again }))
        expect(Buffer.compare(copy, bytes)).toBe(0)
      }),
      { seed: 1, numRuns: 200 }
    )
  })

  it('strings of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect([...encodeText(decodeText(bytes))]).toEqual([...bytes])
      }),
      { seed: 1, numRuns: 500 }
    )
    expect(decodeText(encodeText('\ufeffé🐟'))).toBe('\ufeffé🐟')
  })
})

describe('large tensors', () => {
  const size = 3 * MIB + 20
  const plan = (data: TensorToWrite['data']): GgufPlan => {
    return planGguf({ metadata: new Map(), tensors: [{ name: 't', type: 'I8', dims: [size], data }] })
  }
  const kinds: Readonly<Record<string, TensorToWrite['data']>> = {
    'a source': { source: memorySource(new Uint8Array(size + 5)), offset: 5 },
    memory: new Uint8Array(size),
    'a generator': function* () {
      yield new Uint8Array(2 * MIB)
      yield new Uint8Array(MIB + 20)
    },
    'an asynchronous generator': async function* () {
      yield new Uint8Array(size)
    }
  }
  for (const [kind, data] of Object.entries(kinds)) {
    it(`from ${kind} go in chunks of at most 1 MiB, and progress ends at the total`, async () => {
      const chunks: number[] = []
      const progress: { bytes: number; total: number }[] = []
      const planned = plan(data)
      const sink = { write: async (bytes: Uint8Array) => void chunks.push(bytes.byteLength) }
      await writeGguf(sink, planned, { onProgress: (step) => progress.push(step) })
      expect(Math.max(...chunks)).toBeLessThanOrEqual(MIB)
      expect(progress).toHaveLength(chunks.length)
      expect(progress.at(-1)).toEqual({ bytes: planned.byteLength, total: planned.byteLength })
    })
  }

  it('stop when aborted', async () => {
    const controller = new AbortController()
    let written = 0
    const sink = {
      async write(bytes: Uint8Array) {
        written += bytes.byteLength
        if (written > MIB) controller.abort(new Error('enough'))
      }
    }
    await expect(writeGguf(sink, plan(new Uint8Array(size)), { signal: controller.signal })).rejects.toThrow(
      'enough'
    )
    expect(written).toBeLessThan(2 * MIB)
  })

  for (const [how, length] of [
    ['more', size + 1],
    ['less', size - 1]
  ] as const) {
    it(`are refused when a generator gives ${how} than planned`, async () => {
      const sink = { write: async () => {} }
      await expect(
        writeGguf(
          sink,
          plan(() => [new Uint8Array(length)])
        )
      ).rejects.toMatchObject({
        code: 'WRITE',
        message: expect.stringContaining(how)
      })
    })
  }
})

describe('plans that cannot be', () => {
  const refused = (entries: [string, MetadataValue][], tensors: TensorToWrite[], message: RegExp) => {
    const plan = () => planGguf({ metadata: new Map(entries), tensors })
    expect(plan).toThrow(message)
    expect(plan).toThrow(expect.objectContaining({ name: 'GgufError', code: 'WRITE' }))
  }
  const tensor: TensorToWrite = { name: 't', dims: [8], type: 'F32', data: new Uint8Array(32) }

  it('a value of another type', () => {
    refused([['a', { type: 'u8', value: 256 }]], [], /"a" .* 256 is no integer/)
    refused([['a', { type: 'u64', value: 1 }]], [], /1 is no bigint/)
    refused([['a', { type: 'string', value: true }]], [], /true is no string/)
    refused([['a', { type: 'string', value: '\ud800' }]], [], /lone surrogate/)
  })
  it('an alignment of 48', () => refused([['general.alignment', { type: 'u32', value: 48 }]], [], /u32 48/))
  it('a tensor twice', () => refused([], [tensor, tensor], /"t" is there twice/))
  it('an unknown type', () => refused([], [{ ...tensor, type: 'toString' }], /unknown tensor type toString/))
  it('partial blocks', () => refused([], [{ ...tensor, type: 'Q4_0' }], /whole blocks/))
  it('other bytes than the shape has', () =>
    refused([], [{ ...tensor, dims: [9] }], /32 bytes instead of 36/))
})
