import { certifiedArchitectures, QUIRKS, refusals } from './architectures.ts'
import { GgufError, UnsupportedModelError } from './errors.ts'
import {
  DUMMY_ROWS,
  dummy,
  dummyMatrix,
  EMBEDDING,
  HEAD_TENSORS,
  OUTPUT,
  OUTPUT_FALLS_BACK
} from './globals.ts'
import { type GgufPlan, planGguf, type TensorToWrite } from './plan.ts'
import type { GgufModel, Metadata, SliceDraft, Span, TensorInfo } from './types.ts'

export interface SliceOptions {
  /** Written as `shoal.model.id`. */
  readonly modelId?: string
  /** Slice architectures whose slices were never compared with the whole model. */
  readonly allowUncertified?: boolean
}

/**
 * Plans a GGUF that llama.cpp runs as a model of its own: the blocks `[start, end)` of `model`, numbered from 0, with
 * the embedding and the head if the span has them and with dummies where llama.cpp insists on a tensor.
 *
 * - With the head, the vocabulary stays. Without, it is `no_vocab`, of the real size when there is the embedding, and
 *   of 32 otherwise.
 * - With the head and without the embedding, what is named `token_embd.weight` may be the output (of a tied model,
 *   or see OUTPUT_FALLS_BACK): only where `shoal.embedding` is true is it the embedding.
 * - A slice describes itself: `shoal.span.start`, `shoal.span.end`, `shoal.model.block_count` (u32),
 *   `shoal.embedding`, `shoal.head` (bool), `shoal.model.id` (string, if given).
 *
 * Nothing is read: the plan's tensors are ranges of the model's sources.
 * Throws a GgufError (SPAN) for a span that the model does not have or for a model that is a slice itself, and an
 * UnsupportedModelError where slices of the model would not compute the same.
 */
export function sliceGguf(model: GgufModel, span: Span, options: SliceOptions = {}): GgufPlan {
  const architecture = architectureOf(model, options)
  const blockCount = blockCountOf(model, architecture)
  checkSpan(model, span, blockCount)
  const vocabularyRows = vocabularyRowsOf(model, span)
  const metadata: Metadata = new Map(model.metadata)
  metadata.set(`${architecture}.block_count`, { type: 'u32', value: span.end - span.start })
  if (!span.head) dropVocabulary(metadata, architecture, vocabularyRows)
  describe(metadata, span, blockCount, options.modelId)
  applyQuirks({ architecture, blockCount, span, model, metadata })
  const tensors: TensorToWrite[] = []
  for (const tensor of model.tensors.values()) {
    const kept = keep(model, tensor, span, vocabularyRows, OUTPUT_FALLS_BACK.has(architecture))
    if (kept !== undefined) tensors.push(kept)
  }
  return planGguf({ metadata, tensors })
}

function architectureOf(model: GgufModel, options: SliceOptions): string {
  const architecture = model.metadata.get('general.architecture')?.value
  if (typeof architecture !== 'string') {
    throw new UnsupportedModelError('The model does not say its architecture (general.architecture).')
  }
  if (certifiedArchitectures.has(architecture) || options.allowUncertified) return architecture
  const reason = refusals.get(architecture)
  throw new UnsupportedModelError(
    reason === undefined
      ? `The architecture "${architecture}" is not certified: nobody has compared its slices with the whole model. ` +
          'Try it with: shoal certify FILE'
      : `The architecture "${architecture}" is not certified: ${reason}. See what differs with: shoal certify FILE`
  )
}

function blockCountOf(model: GgufModel, architecture: string): number {
  const count = model.metadata.get(`${architecture}.block_count`)?.value
  if (typeof count === 'number' && Number.isInteger(count) && count >= 1) return count
  throw new UnsupportedModelError(
    `The model does not say its number of blocks (${architecture}.block_count).`
  )
}

function checkSpan(model: GgufModel, { start, end }: Span, blockCount: number): void {
  if (model.metadata.has('shoal.span.start')) {
    throw new GgufError('SPAN', 0, 'The model is a slice already: slice the whole model instead.')
  }
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || start >= end || end > blockCount) {
    throw new GgufError(
      'SPAN',
      0,
      `The span [${start}, ${end}) is empty or not inside the blocks [0, ${blockCount}).`
    )
  }
}

/** How many tokens the slice's vocabulary has. */
function vocabularyRowsOf(model: GgufModel, span: Span): number {
  const rows = model.tensors.get(EMBEDDING)?.dims[1]
  if (rows === undefined) {
    throw new UnsupportedModelError(`The model has no ${EMBEDDING} matrix: is it a vocabulary only?`)
  }
  return span.embedding || span.head ? rows : DUMMY_ROWS
}

function dropVocabulary(metadata: Metadata, architecture: string, rows: number): void {
  for (const key of metadata.keys()) if (key.startsWith('tokenizer.')) metadata.delete(key)
  metadata.set('tokenizer.ggml.model', { type: 'string', value: 'no_vocab' })
  metadata.set(`${architecture}.vocab_size`, { type: 'u32', value: rows })
}

function describe(metadata: Metadata, span: Span, blockCount: number, modelId?: string): void {
  metadata.set('shoal.span.start', { type: 'u32', value: span.start })
  metadata.set('shoal.span.end', { type: 'u32', value: span.end })
  metadata.set('shoal.model.block_count', { type: 'u32', value: blockCount })
  metadata.set('shoal.embedding', { type: 'bool', value: span.embedding })
  metadata.set('shoal.head', { type: 'bool', value: span.head })
  if (modelId !== undefined) metadata.set('shoal.model.id', { type: 'string', value: modelId })
}

function applyQuirks(draft: SliceDraft): void {
  for (const { architectures, apply } of QUIRKS) {
    if (architectures === '*' || architectures.includes(draft.architecture)) apply(draft)
  }
}

/** What the slice has in place of one of the model's tensors. */
function keep(
  model: GgufModel,
  tensor: TensorInfo,
  span: Span,
  vocabularyRows: number,
  outputFallsBack: boolean
): TensorToWrite | undefined {
  const { name } = tensor
  const [, block, suffix] = /^blk\.(\d+)\.(.+)$/s.exec(name) ?? []
  if (block !== undefined) {
    if (Number(block) < span.start || Number(block) >= span.end) return undefined
    return copy(model, tensor, `blk.${Number(block) - span.start}.${suffix}`)
  }
  if (name === EMBEDDING) {
    const tied = !model.tensors.has(OUTPUT)
    if (span.embedding || (span.head && tied)) return copy(model, tensor)
    if (span.head && outputFallsBack) return undefined
    return dummyMatrix(name, tensor.dims[0]!, vocabularyRows)
  }
  if (name === OUTPUT) {
    if (span.head) return copy(model, tensor, span.embedding || !outputFallsBack ? OUTPUT : EMBEDDING)
    return outputFallsBack ? undefined : dummyMatrix(name, tensor.dims[0]!, vocabularyRows)
  }
  const replacement = Object.hasOwn(HEAD_TENSORS, name) ? HEAD_TENSORS[name] : undefined
  if (span.head || replacement === undefined) return copy(model, tensor)
  if (replacement === 'nothing') return undefined
  return dummy(name, name === 'output.bias' ? [vocabularyRows] : tensor.dims, replacement)
}

function copy(model: GgufModel, tensor: TensorInfo, name = tensor.name): TensorToWrite {
  const { dims, type, offset } = tensor
  return { name, dims, type, data: { source: model.sources[tensor.source]!, offset } }
}
