// What the engine computes from a store's files, compared bit by bit with the model that they came from.
import { stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { writeModelFile } from '../../../test/models/file.ts'
import { type TinyModelName, tinyModel } from '../../../test/models/index.ts'
import { FileSource } from '../../common/index.ts'
import { LlamaEngine } from '../../engine/index.ts'
import { startEngine } from '../../engine/testing.ts'
import { readGguf } from '../../gguf/index.ts'
import { partsOf } from '../content.ts'
import type { Manifest } from '../manifest.ts'
import type { Piece, PieceTable } from '../pieces.ts'
import type { SpanFiles } from '../span-files.ts'
import { Store } from './store.ts'
import { allParts, DEMO, fill, openPieces, temporaryFolder } from './testing.ts'

type Range = readonly [start: number, end: number]

const TOKENS = Int32Array.from({ length: 40 }, (_, index) => 3 + ((index * 37) % 200))

function start({ files, embedding }: SpanFiles): Promise<LlamaEngine> {
  return startEngine({ files, ...(embedding === undefined ? {} : { embedding }) })
}

/** A prompt, then some single rows: what leaves an engine for what enters it. */
async function runRows(engine: LlamaEngine, inputs?: readonly Float32Array[]): Promise<Float32Array[]> {
  const outputs: Float32Array[] = []
  const steps = [
    TOKENS.subarray(0, 32),
    ...Array.from({ length: 8 }, (_, at) => TOKENS.subarray(32 + at, 33 + at))
  ]
  let position = 0
  for (const [index, tokens] of steps.entries()) {
    const hidden = inputs?.[index]
    const output = engine.description.hiddenStates ? 'hidden' : 'logits-all'
    const group = {
      sequence: 0,
      position,
      tokens,
      output,
      ...(hidden === undefined ? {} : { hidden })
    } as const
    const [result] = (await engine.run([group])).groups
    if (result?.error !== undefined) throw result.error
    outputs.push((result?.hidden ?? result?.logits) as Float32Array)
    position += tokens.length
  }
  return outputs
}

async function withEngine<T>(engine: LlamaEngine, use: (engine: LlamaEngine) => Promise<T>): Promise<T> {
  try {
    return await use(engine)
  } finally {
    await engine.stop()
  }
}

/** Fetches what these spans lack, and computes with each from the store. Resolves also to how much was fetched. */
async function runChain(
  store: Store,
  id: string,
  source: Parameters<typeof fill>[1],
  ranges: readonly Range[]
): Promise<{ logits: Float32Array[]; fetched: number }> {
  let between: Float32Array[] | undefined
  let fetched = 0
  for (const [from, to] of ranges) {
    const model = await store.get(id)
    const range = { start: from, end: to }
    fetched += await fill(model, source, partsOf(model.manifest.items, range, model.manifest.blockCount))
    const span = await store.span(id, range)
    const inputs = between
    between = await withEngine(await span.load(start), (engine) => runRows(engine, inputs))
    span.release()
  }
  return { logits: between as Float32Array[], fetched }
}

async function fileOf(name: TinyModelName | 'demo', folder: string): Promise<string> {
  return name === 'demo' ? DEMO : writeModelFile(folder, name, tinyModel(name))
}

test.each([
  'demo',
  'llama',
  'llama-tied',
  'llama-rope-freqs',
  'gemma2',
  'gemma3',
  'qwen3moe',
  'phi3-long',
  'gpt-oss'
] as const)('%s: spans, then others of the same files, then the whole', async (name) => {
  const folder = await temporaryFolder()
  const path = await fileOf(name, folder)
  const { manifest, source } = await openPieces(path)
  const expected = await withEngine(await startEngine({ files: [path] }), (engine) => runRows(engine))
  const store = await Store.open({ folder: join(folder, 'store') })
  await store.add(manifest)
  const { id, blockCount: n } = manifest
  const [third, half] = [3, Math.floor(n / 2)]
  const chains: Range[][] = [
    [
      [0, third],
      [third, n - 2],
      [n - 2, n]
    ],
    [
      [0, half],
      [half, n]
    ],
    [[0, n]]
  ]
  for (const [index, ranges] of chains.entries()) {
    const { logits, fetched } = await runChain(store, id, source, ranges)
    expect(logits, `chain ${index}`).toEqual(expected)
    expect(fetched > 0).toBe(index === 0) // after that, all is there
  }
  await store.close()
})

test('a span is loaded while others of the same files run, and again when its engine has died', async () => {
  const { manifest, source } = await openPieces()
  const folder = await temporaryFolder()
  const [mine, other] = [await Store.open({ folder }), await Store.open({ folder })]
  await mine.add(manifest)
  await fill(await mine.get(manifest.id), source, allParts(manifest))
  const first = await mine.span(manifest.id, { start: 0, end: 6 })
  const second = await other.span(manifest.id, { start: 0, end: 7 })
  const running = await first.load(start)
  const expected = await runRows(running)
  // both at once: each has to wait for the other's headers
  const [again, longer] = await Promise.all([first.load(start), second.load(start)])
  for (const engine of [again, running]) {
    await engine.drop(0)
    expect(await runRows(engine)).toEqual(expected)
  }
  expect([again.description.blocks, longer.description.blocks]).toEqual([6, 7])
  for (const engine of [running, again, longer]) await engine.stop()
  for (const store of [mine, other]) await store.close()
})

test('an engine that dies loads its span again, whatever the files say by then', async () => {
  const { manifest, source } = await openPieces()
  const store = await Store.open({ folder: await temporaryFolder() })
  await store.add(manifest)
  await fill(await store.get(manifest.id), source, allParts(manifest))
  const [first, second] = [
    await store.span(manifest.id, { start: 0, end: 6 }),
    await store.span(manifest.id, { start: 2, end: 8 })
  ]
  const init = { ...first.files, context: 512, sequences: 4, threads: 1, gpuLayers: 0 }
  const engine = new LlamaEngine(init, { reload: (load, signal) => first.load(load, signal) })
  await first.load(() => engine.start())
  const expected = await runRows(engine)
  await (await second.load(start)).stop()
  const restarted = new Promise<void>((resolve) => {
    engine.onStateChange((state) => state === 'restarted' && resolve())
  })
  process.kill(engine.description.process, 'SIGKILL')
  await restarted
  expect(await runRows(engine)).toEqual(expected)
  await engine.stop()
  await store.close()
})

test('what is not all there is not loaded', async () => {
  const { manifest, source } = await openPieces()
  const store = await Store.open({ folder: await temporaryFolder() })
  await store.add(manifest)
  const model = await store.get(manifest.id)
  const range = { start: 2, end: 4 }
  await fill(model, source, new Set(['globals', 'block-2']))
  await expect(store.span(manifest.id, range)).rejects.toMatchObject({
    code: 'INCOMPLETE',
    message: /of block-3 /
  })
  await fill(model, source, new Set(['block-3']))
  const span = await store.span(manifest.id, range)
  await truncate(join(model.folder, 'block-3.gguf'), 0)
  await store.verify(manifest.id)
  await expect(span.load(start)).rejects.toMatchObject({ code: 'INCOMPLETE' })
  for (const [from, to] of [
    [0, 9],
    [3, 3],
    [-1, 2],
    [0.5, 2]
  ] as const) {
    await expect(store.span(manifest.id, { start: from, end: to })).rejects.toMatchObject({ code: 'SPAN' })
  }
  await store.close()
})

test('the same bytes of a file are loaded and seeded', async () => {
  const { manifest, source } = await openPieces()
  const store = await Store.open({ folder: await temporaryFolder() })
  await store.add(manifest)
  const model = await store.get(manifest.id)
  await fill(model, source, allParts(manifest))
  const span = await store.span(manifest.id, { start: 0, end: 8 })
  await span.load(async ({ files }) => {
    const sources = await FileSource.openAll(files)
    const { tensors } = await readGguf(sources)
    expect(tensors.size).toBe(manifest.items.length - 1) // all but the tokenizer
    for (const { index, item, offset, byteLength } of piecesIn(manifest)) {
      const tensor = tensors.get(item.name)
      if (tensor === undefined) continue
      expect(await sources[tensor.source]?.read(tensor.offset + offset, byteLength)).toEqual(
        await model.read(index)
      )
    }
    for (const each of sources) await each.close()
  })
  expect((await store.verify(manifest.id)).bad).toEqual([])
  const { size } = await stat(join(model.folder, 'span.gguf'))
  expect(size).toBeLessThan((manifest.items[0]?.byteLength ?? 0) + 8192) // the vocabulary, and nothing of the blocks
  await store.close()
})

function piecesIn({ pieces }: Manifest): Piece[] {
  const { count } = pieces as PieceTable
  return Array.from({ length: count }, (_, index) => (pieces as PieceTable).at(index))
}
