import { expect, test } from 'vitest'
import { memorySource, planGguf, readGguf, splitGguf, splitHeaderBytes } from './index.ts'
import { bytesOf, tinyModel } from './testing.ts'

const plan = tinyModel()
const blocks = [0, 1, 2].map((block) => plan.tensors.filter(({ name }) => name.startsWith(`blk.${block}.`)))

test('split files are read as the model that they were', async () => {
  const files = await Promise.all(
    splitGguf(
      plan,
      blocks.map((tensors) => ({ tensors, headerBytes: 4096 }))
    ).map(bytesOf)
  )
  const whole = await readGguf(memorySource(await bytesOf(plan)))
  const split = await readGguf(files.map(memorySource))
  expect([...split.metadata]).toEqual([...whole.metadata])
  expect([...split.tensors.keys()].sort()).toEqual([...whole.tensors.keys()].sort())
  for (const { name, source, offset, byteLength, dims, type } of split.tensors.values()) {
    const original = whole.tensors.get(name)
    expect({ dims, type }).toEqual({ dims: original?.dims, type: original?.type })
    const bytes = await whole.sources[0]?.read(original?.offset ?? 0, byteLength)
    expect(files[source]?.subarray(offset, offset + byteLength)).toEqual(bytes)
  }
})

test('a part’s tensors begin where they should, whatever its header says', () => {
  for (const tensors of blocks) {
    const renamed = tensors.map((tensor) => ({ ...tensor, name: tensor.name.replace(/\d+/, '77777') }))
    for (const part of [tensors, renamed]) {
      const [, { header, tensors: placed } = plan] = splitGguf({ ...plan, tensors: part }, [
        { tensors: part, headerBytes: 1024 }
      ])
      expect([header.byteLength, placed[0]?.offset]).toEqual([1024, 1024])
    }
  }
})

test('a header that does not fit is refused', () => {
  const [tensors = []] = blocks
  const least = splitHeaderBytes(plan.metadata, tensors)
  expect(splitGguf(plan, [{ tensors, headerBytes: least }])[1]?.header.byteLength).toBe(least)
  expect(() => splitGguf(plan, [{ tensors, headerBytes: least - 32 }])).toThrow('32 bytes longer')
})

test('an alignment of its own goes with each part', async () => {
  const metadata = new Map([...plan.metadata, ['general.alignment', { type: 'u32', value: 64 }] as const])
  const aligned = planGguf({ metadata, tensors: plan.tensors })
  const parts = [{ tensors: aligned.tensors.slice(1), headerBytes: 4096 }]
  const files = await Promise.all(splitGguf(aligned, parts).map(bytesOf))
  expect((await readGguf(files.map(memorySource))).tensors.size).toBe(aligned.tensors.length)
})
