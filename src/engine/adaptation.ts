/**
 * What llama.cpp does with whole files beside running them: quantizing, importance matrices, and scoring a text. Each
 * call has a process of its own, which ends with it: llama.cpp aborts on what it does not expect.
 */
import type { Message } from './channel.ts'
import { EngineChild } from './child.ts'
import { EngineError } from './errors.ts'
import type { QuantizeReport } from './llama/quantize.ts'
import type { Request } from './messages.ts'

export interface WorkOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((fraction: number) => void) | undefined
}

export interface QuantizeSettings {
  /** The first part of a model of several. */
  readonly input: string
  /** With `keepSplit`, what the parts' names begin with. */
  readonly output: string
  /** An id of FILE_TYPES. */
  readonly type: number
  /** Keep all tensors as they are, and only write them anew. */
  readonly copy: boolean
  readonly threads: number
  /** All matrices of one type, where llama.cpp would give some more bits. */
  readonly pure: boolean
  readonly keepSplit: boolean
  /** Take a model that is quantized already. */
  readonly requantize: boolean
  /** ggml's type ids. */
  readonly outputTensorType?: number | undefined
  readonly embeddingType?: number | undefined
}

/** How much each column of each weight matrix matters, as the quantizer takes it. */
export interface ImportanceWeights {
  readonly entries: readonly { readonly name: string; readonly weights: Float32Array }[]
  /** Written into the model's metadata: at most 127 bytes each. */
  readonly notes: readonly (readonly [key: string, value: string | number])[]
}

/** Throws an EngineError (COMPUTE) with llama.cpp's reason. What it wrote until then stays. */
export async function quantizeFile(
  settings: QuantizeSettings,
  importance: ImportanceWeights | undefined,
  options: WorkOptions = {}
): Promise<QuantizeReport> {
  const { entries = [], notes = [] } = importance ?? {}
  const names = entries.map(({ name, weights }) => ({ name, length: weights.length }))
  const imatrix = importance === undefined ? {} : { imatrix: { entries: names, notes } }
  const parts = entries.map(({ weights }) => weights)
  const { head } = await perform({ op: 'quantize', settings: { ...settings, ...imatrix } }, parts, options)
  return head.report as QuantizeReport
}

/** Which model runs a text, and how: in chunks of `context` tokens, all of them or the first ones. */
export interface TextRun {
  /** All parts, in order. */
  readonly files: readonly string[]
  readonly context: number
  readonly chunks?: number | undefined
  readonly threads: number
  /** Blocks to put on a GPU; -1: all, where there is one. */
  readonly gpuLayers: number
}

export interface ImportanceEntry {
  /** A weight tensor's. */
  readonly name: string
  /** Of squared inputs, `[matrices, columns]`. */
  readonly sums: Float32Array
  /** Rows that were summed, for each expert; a matrix that is no expert's has one. */
  readonly counts: Float32Array
}

export interface ImportanceSums {
  readonly chunks: number
  /** Sorted by name. */
  readonly entries: readonly ImportanceEntry[]
}

export async function sumImportance(
  run: TextRun,
  text: string,
  options: WorkOptions = {}
): Promise<ImportanceSums> {
  const bytes = new TextEncoder().encode(text)
  const { head, body } = await perform({ op: 'importance', run }, [bytes], options)
  const { chunks, lengths } = head as {
    chunks: number
    lengths: { name: string; sums: number; counts: number }[]
  }
  let offset = body.byteOffset
  const floats = (length: number): Float32Array => {
    offset += length * 4
    return new Float32Array(body.buffer, offset - length * 4, length)
  }
  const entries = lengths.map(({ name, sums, counts }) => ({
    name,
    sums: floats(sums),
    counts: floats(counts)
  }))
  return { chunks, entries }
}

/** Of each token that was scored, in order. */
export interface TextScores {
  /** In the text. */
  readonly tokens: number
  readonly chunks: number
  /** -ln of its probability. */
  readonly loss: Float64Array
  readonly compared?: {
    readonly referenceLoss: Float64Array
    /** Kullback-Leibler divergence from the reference, in nats. */
    readonly divergence: Float64Array
    /** Its probability, less that by the reference. */
    readonly probabilityDelta: Float64Array
    /** 1: both think the same token the most likely. */
    readonly sameTop: Float64Array
  }
}

export interface ScoredRun extends TextRun {
  /** All parts of a model to compare with; it is in memory beside the other. */
  readonly reference?: readonly string[] | undefined
}

export async function scoreText(
  run: ScoredRun,
  text: string,
  options: WorkOptions = {}
): Promise<TextScores> {
  const { head, body } = await perform({ op: 'score', run }, [new TextEncoder().encode(text)], options)
  const { tokens, chunks } = head as { tokens: number; chunks: number }
  const columns = new Float64Array(body.slice().buffer) // a message is aligned for floats only
  const rows = columns.length / (run.reference === undefined ? 1 : 5)
  const column = (index: number): Float64Array => columns.subarray(index * rows, (index + 1) * rows)
  if (run.reference === undefined) return { tokens, chunks, loss: columns }
  const rest = { divergence: column(2), probabilityDelta: column(3), sameTop: column(4) }
  return { tokens, chunks, loss: column(0), compared: { referenceLoss: column(1), ...rest } }
}

async function perform(
  request: Request,
  parts: readonly ArrayBufferView[],
  { signal, onProgress }: WorkOptions
): Promise<Message> {
  signal?.throwIfAborted()
  const child = new EngineChild((fraction) => onProgress?.(fraction))
  const abort = (): void => void child.kill()
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const reply = await child.request(request, parts)
    signal?.throwIfAborted()
    return reply
  } catch (error) {
    if (signal?.aborted) throw new EngineError('ABORTED', 'It was given up.', { cause: error })
    await child.kill()
    const reasons = child.errorLog()
    if (reasons === '' || !(error instanceof EngineError) || error.code !== 'LOAD_FAILED') throw error
    throw new EngineError(error.code, `${error.message} (${reasons})`, { cause: error })
  } finally {
    signal?.removeEventListener('abort', abort)
    await child.kill()
  }
}
