/** A draft model in an engine of its own: all of it, on few threads. */
import { availableParallelism } from 'node:os'
import { ShoalError } from '../common/index.ts'
import { LlamaEngine } from '../engine/index.ts'
import { memoryOf, partsOf } from '../models/index.ts'
import { DraftEngine } from '../session/index.ts'
import type { Library, NamedModel } from './library.ts'

/**
 * KV positions of all sessions that it drafts for: a conversation or two. Longer ones go on without it; a model of a
 * billion parameters takes 256 MiB for so many.
 */
const POSITIONS = 8_192
/** Sessions: a gateway's eight at once, and those that are kept for the next question. */
const SEQUENCES = 32
/** Of the engine's process, without a model: measured with the smallest. */
const ENGINE_BYTES = 128 * 1024 * 1024
/** Of what is free: the rest is for stages, and for other programs. */
const SHARE = 0.5
/** Steps of one row at a time: more threads hardly help, and take cores from the node's own stage. */
const MOST_THREADS = 4

export type LoadedDraft = { readonly shared: DraftEngine; stop(): Promise<void> }

/** Its blocks have to be here. Throws a ShoalError MEMORY where it does not fit, and what loading throws. */
export async function loadDraft(
  model: NamedModel,
  library: Pick<Library, 'store'>,
  { freeBytes, signal }: { readonly freeBytes: number; readonly signal: AbortSignal }
): Promise<LoadedDraft> {
  const context = Math.min(POSITIONS, trainedContext(model))
  checkMemory(model, context, freeBytes)
  const range = { start: 0, end: model.blockCount }
  const span =
    model.files === undefined ? await (await library.store).span(model.id, range, { signal }) : undefined
  const { files, embedding } = span?.files ?? { files: model.files ?? [], embedding: undefined }
  const threads = Math.min(MOST_THREADS, Math.ceil(availableParallelism() / 4))
  const engine = new LlamaEngine(
    { files, context, sequences: SEQUENCES, threads, ...(embedding === undefined ? {} : { embedding }) },
    span === undefined ? {} : { reload: (load, again) => span.load(load, again) }
  )
  const stop = async (): Promise<void> => {
    await engine.stop()
    span?.release()
  }
  try {
    const started = (): Promise<void> => engine.start({ signal })
    await (span === undefined ? started() : span.load(started, signal))
  } catch (error) {
    await stop()
    throw error
  }
  const shared = new DraftEngine(engine)
  return {
    shared,
    stop: async () => {
      shared.close()
      await stop()
    }
  }
}

/** All that `loadDraft` needs. */
export function draftParts({ manifest, blockCount }: NamedModel) {
  return partsOf(manifest.items, { start: 0, end: blockCount }, blockCount)
}

function checkMemory(model: NamedModel, context: number, freeBytes: number): void {
  const { blockBytes, embeddingBytes, headBytes, positionBytes } = memoryOf(model, 'f16')
  const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0)
  const needed = sum(blockBytes) + embeddingBytes + headBytes + sum(positionBytes) * context + ENGINE_BYTES
  if (needed <= freeBytes * SHARE) return
  const mega = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`
  throw new ShoalError(
    'MEMORY',
    `it takes ${mega(needed)}, and of the memory that is free it may have ${mega(freeBytes * SHARE)}`
  )
}

function trainedContext({ gguf, architecture }: NamedModel): number {
  const trained = gguf.metadata.get(`${architecture}.context_length`)?.value
  return typeof trained === 'number' && trained > 0 ? trained : POSITIONS
}
