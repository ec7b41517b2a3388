/** Scores a text, and compares each prediction with a reference's: only the scores leave this process, not logits. */
import type { ScoredRun, TextScores } from '../adaptation.ts'
import { EngineError } from '../errors.ts'
import { type ChunkBatch, ChunkedModel, chunkCount } from './chunks.ts'
import type { Llama } from './library.ts'
import { Comparer, lossOf } from './score.ts'

export function evaluateText(
  llama: Llama,
  { reference: referenceFiles, chunks: mostChunks, ...init }: ScoredRun,
  text: string,
  onProgress: (fraction: number) => void
): TextScores {
  const model = new ChunkedModel(llama, init)
  const tokens = model.tokenize(text)
  const reference =
    referenceFiles === undefined ? undefined : new ChunkedModel(llama, { ...init, files: referenceFiles })
  if (reference !== undefined) checkSameVocabulary(model, reference, tokens, text)
  const { context } = init
  const chunks = chunkCount(tokens, context, mostChunks)
  // The first half of a chunk has too little before it to be foretold; its last row has nothing after it.
  const first = Math.floor(context / 2)
  const scores = emptyScores(chunks * (context - 1 - first), reference !== undefined)
  const comparer = new Comparer(model.vocabulary.size)
  let scored = 0
  for (const batch of model.batches(chunks)) {
    model.decode(tokens, batch, first)
    reference?.decode(tokens, batch, first)
    for (const { row, index } of scoredRows(batch, first, context)) {
      const next = tokens[index + 1] as number
      const logits = model.logits(row)
      scores.loss[scored] = lossOf(logits, next)
      if (Number.isNaN(scores.loss[scored])) throw new EngineError('COMPUTE', 'The logits are not numbers.')
      if (reference !== undefined && scores.compared !== undefined) {
        const expected = reference.logits(row)
        const { divergence, probabilityDelta, sameTop } = comparer.compare(logits, expected, next)
        scores.compared.referenceLoss[scored] = lossOf(expected, next)
        scores.compared.divergence[scored] = divergence
        scores.compared.probabilityDelta[scored] = probabilityDelta
        scores.compared.sameTop[scored] = Number(sameTop)
      }
      scored++
    }
    onProgress((batch.chunk + batch.count) / chunks)
  }
  return { tokens: tokens.length, chunks, ...scores }
}

/** Rows of a batch that are scored, and which of the text's tokens each is. */
function* scoredRows(
  { chunk, count, start, length }: ChunkBatch,
  first: number,
  context: number
): Generator<{ row: number; index: number }> {
  for (let sequence = 0; sequence < count; sequence++) {
    const offset = (chunk + sequence) * context
    const end = Math.min(start + length, context - 1)
    for (let position = Math.max(start, first); position < end; position++) {
      yield { row: sequence * length + position - start, index: offset + position }
    }
  }
}

function emptyScores(rows: number, compared: boolean): Pick<TextScores, 'loss' | 'compared'> {
  const column = (): Float64Array => new Float64Array(rows)
  if (!compared) return { loss: column() }
  const rest = { divergence: column(), probabilityDelta: column(), sameTop: column() }
  return { loss: column(), compared: { referenceLoss: column(), ...rest } }
}

function checkSameVocabulary(
  model: ChunkedModel,
  reference: ChunkedModel,
  tokens: Int32Array,
  text: string
): void {
  const others = reference.tokenize(text)
  const isSame =
    model.vocabulary.size === reference.vocabulary.size &&
    others.length === tokens.length &&
    others.every((token, index) => token === tokens[index])
  if (isSame) return
  throw new EngineError(
    'INPUT',
    'The model and its reference have different vocabularies: they cannot be compared.'
  )
}
