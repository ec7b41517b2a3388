import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import {
  fingerprint,
  type GgufModel,
  memorySource,
  planGguf,
  readGguf,
  sliceGguf,
  type TensorToWrite
} from './index.ts'
import { bytesOf, tinyModel, watchedSource } from './testing.ts'

const load = (file: Uint8Array) => readGguf(memorySource(file))

/** The model written anew with its keys and tensors in the reverse order, and some that say how it is stored. */
async function stored(model: GgufModel): Promise<Uint8Array> {
  const tensors = [...model.tensors.values()]
    .reverse()
    .map(({ name, type, dims, source, offset }): TensorToWrite => {
      return { name, type, dims, data: { source: model.sources[source]!, offset } }
    })
  const metadata = new Map([...model.metadata].reverse())
  metadata.set('shoal.note', { type: 'string', value: 'x' })
  metadata.set('split.count', { type: 'u16', value: 1 })
  return bytesOf(planGguf({ metadata, tensors }))
}

it('is the same however the model is stored', async () => {
  const model = await load(await bytesOf(tinyModel()))
  const id = await fingerprint(model)
  expect(id).toMatch(/^[0-9a-f]{64}$/)
  const file = await stored(model)
  expect(await fingerprint(await load(file))).toBe(id)
  file[4] = 2
  expect(await fingerprint(await load(file))).toBe(id)
})

it('stays the same from release to release', async () => {
  const id = await fingerprint(await load(await readFile('models/demo.gguf')))
  expect(id).toBe('ca1d9cb90ab5680019d16fc41e6a2eef79e829c725f24dc7c5cfb3e265eaaa1c')
})

it('differs when a key, a name, a type or a first byte does', async () => {
  const plan = tinyModel()
  const file = await bytesOf(plan)
  const ids = new Set<string>([await fingerprint(await load(file))])
  for (const { offset } of plan.tensors) {
    const changed = file.slice()
    changed[offset]! ^= 1
    ids.add(await fingerprint(await load(changed)))
  }
  const metadata = new Map(plan.metadata).set('general.name', { type: 'string', value: '' })
  ids.add(await fingerprint(await load(await bytesOf(planGguf({ metadata, tensors: plan.tensors })))))
  const [first, ...others] = plan.tensors
  for (const tensor of [
    { ...first!, name: 'token_embd.weighs' },
    { ...first!, dims: [32, 80] }
  ]) {
    const changed = planGguf({ metadata: plan.metadata, tensors: [tensor, ...others] })
    ids.add(await fingerprint(await load(await bytesOf(changed))))
  }
  expect(ids.size).toBe(plan.tensors.length + 4)
})

it('reads at most 4 KiB of each tensor', async () => {
  const source = watchedSource(await readFile('models/demo.gguf'))
  const model = await readGguf(source)
  const before = source.bytesRead
  await fingerprint(model)
  expect(source.bytesRead - before).toBeLessThanOrEqual(model.tensors.size * 4096)
})

it('a slice has another than the model', async () => {
  const model = await load(await bytesOf(tinyModel()))
  const slice = sliceGguf(model, { start: 0, end: 2, embedding: true, head: true })
  expect(await fingerprint(await load(await bytesOf(slice)))).not.toBe(await fingerprint(model))
})

it('an aborted one rejects with the reason', async () => {
  const reason = new Error('enough')
  const model = await load(await bytesOf(tinyModel()))
  await expect(fingerprint(model, AbortSignal.abort(reason))).rejects.toBe(reason)
})
