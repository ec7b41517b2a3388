/** How well a model foretells a text, and how far it is from a reference, such as the model it was quantized from. */
import { scoreText, type TextScores } from '../../engine/index.ts'
import { readHeader } from './header.ts'
import { type Estimate, meanOf, percentile, perplexityOf } from './statistics.ts'
import { readText } from './text.ts'

export interface TextOptions {
  /** Tokens per chunk. */
  readonly context: number
  /** The first so many; default: all. */
  readonly chunks?: number | undefined
  readonly threads: number
  /** Blocks on a GPU; -1: all, where there is one. */
  readonly gpuLayers: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((fraction: number) => void) | undefined
}

export interface EvaluateOptions extends TextOptions {
  /** A model with the same vocabulary. */
  readonly reference?: string | undefined
}

export interface EvaluateReport {
  /** In the text. */
  readonly tokens: number
  readonly chunks: number
  /** Tokens that were foretold: those of each chunk's second half. */
  readonly scored: number
  readonly perplexity: Estimate
  readonly reference?: {
    readonly perplexity: Estimate
    /** Kullback-Leibler, in nats per token. */
    readonly divergence: Estimate & { readonly median: number; readonly p99: number; readonly max: number }
    /** Of the tokens, where both think the same one the most likely. */
    readonly sameTop: Estimate
    /** How much more probable the right token is than by the reference. */
    readonly probabilityDelta: Estimate
  }
}

/** The same figures as llama-perplexity's, with its `--kl-divergence` where there is a reference. */
export async function evaluate(
  path: string,
  textPath: string,
  options: EvaluateOptions
): Promise<EvaluateReport> {
  const { reference, signal, onProgress, ...run } = options
  const text = await readText(textPath)
  const { files } = await readHeader(path)
  const referenceFiles = reference === undefined ? {} : { reference: (await readHeader(reference)).files }
  return reportOf(await scoreText({ ...run, ...referenceFiles, files }, text, { signal, onProgress }))
}

function reportOf({ tokens, chunks, loss, compared }: TextScores): EvaluateReport {
  const report = { tokens, chunks, scored: loss.length, perplexity: perplexityOf(loss) }
  if (compared === undefined) return report
  const sorted = compared.divergence.toSorted()
  return {
    ...report,
    reference: {
      perplexity: perplexityOf(compared.referenceLoss),
      divergence: {
        ...meanOf(sorted),
        median: percentile(sorted, 0.5),
        p99: percentile(sorted, 0.99),
        max: sorted.at(-1) as number
      },
      sameTop: meanOf(compared.sameTop),
      probabilityDelta: meanOf(compared.probabilityDelta)
    }
  }
}
