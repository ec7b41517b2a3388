/** What an engine loads of a model when it computes some of its blocks. */
import type { EmbeddingTable } from '../engine/index.ts'
import { sliceGguf } from '../gguf/index.ts'
import { partsOf } from './content.ts'
import type { Model, ModelFile } from './model-file.ts'
import { fetchPieces } from './sources/index.ts'
import { GgufPieces, Store } from './store/index.ts'

export interface SpanFiles {
  readonly files: readonly string[]
  /** Where the span starts at block 0 but is not the whole model. */
  readonly embedding?: EmbeddingTable
  /** Bytes on disk. */
  readonly bytes: number
}

export interface SpanOptions {
  readonly signal?: AbortSignal
  /** For `certify`: slice what nobody has compared with the whole model yet. */
  readonly allowUncertified?: boolean
}

/**
 * The blocks `[start, end)` out of a GGUF on this machine, in a store in `folder`: the files that a node would load.
 * They say that they are this span until another one of the same model is written there. The whole model is used in
 * place.
 */
export async function writeSpan(
  model: ModelFile,
  range: { readonly start: number; readonly end: number },
  folder: string,
  options: SpanOptions = {}
): Promise<SpanFiles> {
  const { start, end } = range
  const { id, manifest, blockCount } = model
  const head = end === blockCount
  const { byteLength } = sliceGguf(model.gguf, { start, end, embedding: start === 0, head }, options)
  if (start === 0 && head) return { files: model.files, bytes: byteLength }
  const store = await Store.open({ folder })
  try {
    await store.add(manifest)
    const parts = partsOf(manifest.items, range, blockCount)
    await fetchPieces(await store.get(id), new GgufPieces(model), parts, options)
    const span = await store.span(id, range, options)
    return await span.load(async (files) => files)
  } finally {
    await store.close()
  }
}

/** Throws an UnsupportedModelError where parts of the model would not compute the same. Reads nothing. */
export function checkSpans({ gguf, blockCount }: Model): void {
  sliceGguf(gguf, { start: 0, end: 1, embedding: false, head: blockCount === 1 })
}
