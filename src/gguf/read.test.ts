import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { HeaderBytes } from './encode.ts'
import {
  type Metadata,
  memorySource,
  planGguf,
  readGguf,
  splitPartNames,
  type TensorToWrite
} from './index.ts'
import { bytesOf, tinyModel, watchedSource } from './testing.ts'

const F32: Omit<TensorToWrite, 'name'> = { dims: [8], type: 'F32', data: new Uint8Array(32) }

describe('a real file', () => {
  it('is read with its keys, tensors and places', async () => {
    const file = await readFile('models/demo.gguf')
    const source = watchedSource(file)
    const model = await readGguf(source)
    expect(model.version).toBe(3)
    expect(model.alignment).toBe(32)
    expect(model.metadata.get('general.architecture')).toEqual({ type: 'string', value: 'llama' })
    expect(model.metadata.get('llama.block_count')).toEqual({ type: 'u32', value: 8 })
    expect(model.metadata.get('tokenizer.ggml.tokens')?.value).toHaveLength(1024)
    const embedding = model.tensors.get('token_embd.weight')
    expect(embedding).toMatchObject({ type: 'Q8_0', dims: [128, 1024], source: 0, byteLength: 139_264 })
    const ends = [...model.tensors.values()].map(({ offset, byteLength }) => offset + byteLength)
    expect(Math.max(...ends)).toBeLessThanOrEqual(file.byteLength)
    // Its header is 32 KB long.
    expect(source.bytesRead).toBe(64 * 1024)
  })

  for (const name of ['ggml-vocab-gpt-2', 'ggml-vocab-llama-spm']) {
    const file = readFile(`../shared/models/${name}.gguf`).catch(() => undefined)
    it(`${name} is read and written back with the same bytes`, async (test) => {
      const bytes = await file
      if (bytes === undefined) return test.skip()
      const source = watchedSource(bytes)
      const { metadata, tensors } = await readGguf(source)
      expect(tensors.size).toBe(0)
      expect(source.bytesRead).toBeLessThanOrEqual(bytes.byteLength)
      expect(source.reads).toBeLessThan(10)
      const { header } = planGguf({ metadata, tensors: [] })
      expect(Buffer.compare(header.subarray(8, bytes.byteLength), bytes.subarray(8))).toBe(0)
    })
  }
})

describe('what a header may not be', () => {
  const refused = async (file: Uint8Array, code: string, message: RegExp) => {
    await expect(readGguf(memorySource(file))).rejects.toMatchObject({
      name: 'GgufError',
      code,
      message: expect.stringMatching(message),
      offset: expect.any(Number)
    })
  }

  /** Magic, version and counts, then whatever `rest` writes, then zeros. */
  const file = (
    tensors: number | bigint,
    keys: number | bigint,
    rest: (bytes: HeaderBytes) => void = () => {}
  ) => {
    const bytes = new HeaderBytes()
    bytes.u32(0x46554747)
    bytes.u32(3)
    bytes.u64(tensors)
    bytes.u64(keys)
    rest(bytes)
    bytes.zeros(200)
    return bytes.take()
  }
  const tensor = (name: string, dims: (number | bigint)[], type: number, offset: number | bigint) => {
    return (bytes: HeaderBytes) => {
      bytes.text(name)
      bytes.u32(dims.length)
      for (const dim of dims) bytes.u64(dim)
      bytes.u32(type)
      bytes.u64(offset)
    }
  }
  const key = (name: string, type: number, ...rest: (number | bigint)[]) => {
    return (bytes: HeaderBytes) => {
      bytes.text(name)
      bytes.u32(type)
      for (const value of rest) typeof value === 'bigint' ? bytes.u64(value) : bytes.u32(value)
    }
  }
  const both = (...writers: ((bytes: HeaderBytes) => void)[]) => {
    return (bytes: HeaderBytes) => {
      for (const write of writers) write(bytes)
    }
  }

  it('another format', () => refused(new TextEncoder().encode('not a model at all'), 'FORMAT', /no GGUF/))
  it('empty', () => refused(new Uint8Array(0), 'TRUNCATED', /magic number, at byte 0/))
  it('version 1', () => refused(Uint8Array.of(0x47, 0x47, 0x55, 0x46, 1, 0, 0, 0), 'FORMAT', /version 1 /))
  it('big-endian', () => refused(Uint8Array.of(0x47, 0x47, 0x55, 0x46, 0, 0, 0, 3), 'FORMAT', /big-endian/))
  it('too many tensors', () => refused(file(2n ** 63n, 0), 'TRUNCATED', /number of tensors at byte 8 /))
  it('too many keys', () => refused(file(0, 100), 'TRUNCATED', /number of keys at byte 16 is 100/))
  it('a long string', () =>
    refused(
      file(0, 1, (b) => b.u64(500)),
      'TRUNCATED',
      /length of key 0 at byte 24 is 500/
    ))
  it('an empty key', () => refused(file(0, 1, key('', 4, 1)), 'METADATA', /key 0 at byte 24 is empty/))
  it('a key twice', () =>
    refused(file(0, 2, both(key('a', 4, 1), key('a', 4, 1))), 'METADATA', /"a".* twice/))
  it('an unknown value type', () => refused(file(0, 1, key('a', 13)), 'METADATA', /unknown type 13/))
  it('an unknown item type', () => refused(file(0, 1, key('a', 9, 13, 1n)), 'METADATA', /unknown type 13/))
  it('arrays of arrays', () => refused(file(0, 1, key('a', 9, 9, 1n)), 'METADATA', /array of arrays/))
  it('a long array', () => refused(file(0, 1, key('a', 9, 4, 60n)), 'TRUNCATED', /items .* is 60/))
  it('a long array of strings', () => refused(file(0, 1, key('a', 9, 8, 30n)), 'TRUNCATED', /items .* is 30/))
  it('a bad alignment', () => refused(file(0, 1, key('general.alignment', 4, 48)), 'METADATA', /u32 48/))
  it('no alignment', () => refused(file(0, 1, key('general.alignment', 4, 0)), 'METADATA', /u32 0/))
  it('a signed alignment', () => refused(file(0, 1, key('general.alignment', 5, 32)), 'METADATA', /i32 32/))
  it('a nameless tensor', () => refused(file(1, 0, tensor('', [8], 0, 0)), 'TENSOR', /has no name/))
  it('no dimensions', () => refused(file(1, 0, tensor('t', [], 0, 0)), 'TENSOR', /0 dimensions/))
  it('five dimensions', () =>
    refused(file(1, 0, tensor('t', [1, 1, 1, 1, 1], 0, 0)), 'TENSOR', /5 dimensions/))
  it('a dimension of 0', () => refused(file(1, 0, tensor('t', [8, 0], 0, 0)), 'TENSOR', /dimension 0/))
  it('a huge dimension', () =>
    refused(file(1, 0, tensor('t', [2n ** 63n], 0, 0)), 'TENSOR', /no positive integer/))
  it('overflow', () => refused(file(1, 0, tensor('t', [2 ** 40, 2 ** 40], 0, 0)), 'TENSOR', /overflow/))
  it('an unknown type', () => refused(file(1, 0, tensor('t', [8], 4, 0)), 'TENSOR', /unknown type 4/))
  it('partial blocks', () => refused(file(1, 0, tensor('t', [40], 2, 0)), 'TENSOR', /whole blocks of 32/))
  it('unaligned', () => refused(file(1, 0, tensor('t', [8], 0, 8)), 'TENSOR', /multiple of the alignment/))
  it('beyond the end', () => refused(file(1, 0, tensor('t', [8], 0, 320)), 'TRUNCATED', /beyond the end/))
  it('far beyond', () =>
    refused(file(1, 0, tensor('t', [8], 0, 2n ** 64n - 32n)), 'TRUNCATED', /beyond the end/))
  it('a tensor twice', async () => {
    await refused(file(2, 0, both(tensor('t', [8], 0, 0), tensor('t', [8], 0, 32))), 'TENSOR', /"t".* twice/)
  })
  it('overlaps', async () => {
    await refused(
      file(2, 0, both(tensor('b', [8], 0, 32), tensor('a', [16], 0, 0))),
      'TENSOR',
      /"b".* overlaps "a"/
    )
  })
  it('anything cut short', async () => {
    const whole = await bytesOf(tinyModel({ blocks: 1 }))
    const end = Math.max(
      ...[...(await readGguf(memorySource(whole))).tensors.values()].map((t) => t.offset + t.byteLength)
    )
    for (let length = 0; length < end; length += 13) {
      await expect(readGguf(watchedSource(whole.subarray(0, length)))).rejects.toMatchObject({
        code: 'TRUNCATED'
      })
    }
  })
})

it('version 2 has the same header', async () => {
  const file = await bytesOf(tinyModel())
  file[4] = 2
  const model = await readGguf(memorySource(file))
  expect(model.version).toBe(2)
  expect(model.tensors.size).toBe(9)
})

it('a large header is read in growing windows, nothing twice', async () => {
  const metadata: Metadata = new Map([
    ['a', { type: 'array', itemType: 'u64', value: Array(100_000).fill(1n) }]
  ])
  const file = await bytesOf(planGguf({ metadata, tensors: [{ ...F32, name: 't' }] }))
  const source = watchedSource(file)
  expect((await readGguf(source)).metadata).toEqual(metadata)
  expect(source.bytesRead).toBeLessThanOrEqual(file.byteLength)
  expect(source.reads).toBeLessThanOrEqual(3)
})

it('an aborted read rejects with the reason', async () => {
  const file = await bytesOf(tinyModel())
  const reason = new Error('enough')
  await expect(readGguf(memorySource(file), AbortSignal.abort(reason))).rejects.toBe(reason)
})

describe('a multi-part model', () => {
  const part = (number: number, count: number, total: number, ...names: string[]) => {
    const metadata: Metadata = new Map([
      ['general.name', { type: 'string', value: `part ${number}` }],
      ['split.no', { type: 'u16', value: number }],
      ['split.count', { type: 'u16', value: count }],
      ['split.tensors.count', { type: 'i32', value: total }]
    ])
    return bytesOf(planGguf({ metadata, tensors: names.map((name) => ({ ...F32, name })) }))
  }
  const read = async (...parts: Promise<Uint8Array>[]) => {
    return readGguf((await Promise.all(parts)).map((bytes) => memorySource(bytes)))
  }

  it('is merged', async () => {
    const model = await read(part(0, 2, 3, 'a'), part(1, 2, 3, 'b', 'c'))
    expect([...model.tensors.values()].map(({ name, source }) => [name, source])).toEqual([
      ['a', 0],
      ['b', 1],
      ['c', 1]
    ])
    expect([...model.metadata]).toEqual([['general.name', { type: 'string', value: 'part 0' }]])
    expect(model.sources).toHaveLength(2)
  })
  it('needs all parts', () => expect(read(part(0, 2, 3, 'a'))).rejects.toThrow(/model of 2 parts/))
  it('needs their order', async () => {
    await expect(read(part(1, 2, 3, 'b', 'c'), part(0, 2, 3, 'a'))).rejects.toThrow(/file 1 .* is part 2/)
  })
  it('needs all tensors', async () => {
    await expect(read(part(0, 2, 4, 'a'), part(1, 2, 4, 'b'))).rejects.toThrow(
      /4 tensors, but its parts have 2/
    )
  })
  it('has no tensor twice', async () => {
    await expect(read(part(0, 2, 2, 'a'), part(1, 2, 2, 'a'))).rejects.toMatchObject({ code: 'PARTS' })
  })
  it('is not made of other files', async () => {
    await expect(read(bytesOf(tinyModel()), part(1, 2, 2, 'a'))).rejects.toMatchObject({ code: 'PARTS' })
  })
  it('has at least one', () => expect(readGguf([])).rejects.toMatchObject({ code: 'PARTS' }))
  it('has names', () => {
    const names = ['a/x-00001-of-00003.gguf', 'a/x-00002-of-00003.gguf', 'a/x-00003-of-00003.gguf']
    for (const name of names) expect(splitPartNames(name)).toEqual(names)
    for (const name of ['x.gguf', 'x-00004-of-00003.gguf', 'x-1-of-3.gguf'])
      expect(splitPartNames(name)).toEqual([name])
  })
})
