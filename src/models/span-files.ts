/** A span's own files: what a node keeps of a model when it hosts some of its blocks. */
import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { FileSource } from '../common/index.ts'
import type { EmbeddingTable } from '../engine/index.ts'
import { type GgufPlan, planGguf, readGguf, sliceGguf, TENSOR_TYPES, writeGguf } from '../gguf/index.ts'
import type { Model, ModelFile } from './model-file.ts'

const EMBEDDING = 'token_embd.weight'

export interface SpanFiles {
  readonly files: readonly string[]
  /** Where the span starts at block 0 but is not the whole model. */
  readonly embedding?: EmbeddingTable
  /** Bytes on disk. */
  readonly bytes: number
}

export interface SpanOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: { bytes: number; total: number }) => void
  /** For `certify`: slice what nobody has compared with the whole model yet. */
  readonly allowUncertified?: boolean
}

/**
 * Writes the blocks `[start, end)` of a model into `folder` (once: complete files are used again). The last span
 * has the head, the first its token embedding as a file of its own, to be looked up outside of the engine's
 * graph. The whole model is used in place.
 */
export async function writeSpan(
  model: ModelFile,
  span: { readonly start: number; readonly end: number },
  folder: string,
  options: SpanOptions = {}
): Promise<SpanFiles> {
  const { start, end } = span
  const head = end === model.blockCount
  const whole = { start, end, embedding: start === 0, head }
  if (start === 0 && head) {
    sliceGguf(model.gguf, whole, options) // refuses what is not certified
    const bytes = [...model.gguf.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)
    return { files: model.files, bytes }
  }
  const plan = sliceGguf(model.gguf, { ...whole, embedding: false }, { ...options, modelId: model.id })
  const target = join(folder, model.id)
  await mkdir(target, { recursive: true })
  const path = join(target, `blocks-${start}-${end}.gguf`)
  await writeOnce(path, plan, options)
  if (start > 0) return { files: [path], bytes: plan.byteLength }
  const embedding = await writeEmbedding(model, join(target, 'embedding.gguf'), options)
  return { files: [path], embedding: embedding.table, bytes: plan.byteLength + embedding.bytes }
}

/** Throws an UnsupportedModelError where parts of the model would not compute the same. Reads nothing. */
export function checkSpans({ gguf, blockCount }: Model): void {
  sliceGguf(gguf, { start: 0, end: 1, embedding: false, head: blockCount === 1 })
}

async function writeEmbedding(
  model: ModelFile,
  path: string,
  options: SpanOptions
): Promise<{ table: EmbeddingTable; bytes: number }> {
  const tensor = model.gguf.tensors.get(EMBEDDING)
  if (tensor === undefined) throw new Error(`${model.path} has no ${EMBEDDING}`) // sliceGguf has refused it before
  const { dims, type, offset, source } = tensor
  const data = { source: model.gguf.sources[source] as FileSource, offset }
  const metadata = new Map([['general.architecture', { type: 'string' as const, value: model.architecture }]])
  const plan = planGguf({ metadata, tensors: [{ name: EMBEDDING, dims, type, data }] })
  await writeOnce(path, plan, options)
  const written = plan.tensors[0] as GgufPlan['tensors'][number]
  const vocabulary = dims[1] as number
  const table = {
    file: path,
    offset: written.offset,
    type: (TENSOR_TYPES as Record<string, { id: number }>)[type]?.id as number,
    rowBytes: written.byteLength / vocabulary,
    vocabulary
  }
  return { table, bytes: plan.byteLength }
}

/** Writes under a name of its own first: a file by its final name is complete, whoever else writes it too. */
async function writeOnce(path: string, plan: GgufPlan, options: SpanOptions): Promise<void> {
  if (await isComplete(path, plan)) return
  const partial = `${path}.${randomUUID()}.partial`
  const file = await open(partial, 'w')
  try {
    await writeGguf({ write: (bytes) => file.writeFile(bytes) }, plan, options)
    await file.sync()
    await file.close()
    await rename(partial, path)
  } catch (error) {
    await file.close()
    await rm(partial, { force: true })
    throw error
  }
}

/** Same length and same header as planned; the bytes between were written before the name was given. */
async function isComplete(path: string, plan: GgufPlan): Promise<boolean> {
  let source: FileSource
  try {
    source = await FileSource.open(path)
  } catch {
    return false
  }
  try {
    if (source.size !== plan.byteLength) return false
    await readGguf(source)
    const header = await source.read(0, plan.header.length)
    return Buffer.compare(header, plan.header) === 0
  } catch {
    return false
  } finally {
    await source.close()
  }
}
