/** What a codec costs in predictions, and how much it may cost. */
import type { RowCodec } from '../net/index.ts'
import { type Estimate, meanOf, percentile, perplexityOf } from './adapt/statistics.ts'

/** What a codec that was not asked for by name may cost at most. */
export const CODEC_LIMITS = {
  /** Nats per token, on average: about what quantizing to Q8_0, the finest in use, costs (BENCHMARKS: 0.0006 to 0.004). */
  divergence: 0.001,
  /** A small mean may hide rare large errors, as where a block's numbers pay for an outlier among them. */
  divergenceP99: 0.02,
  /** Where two tokens are nearly tied anything decides: batches of another size change two of a hundred choices. */
  sameTop: 0.97,
  /** Below the standard error of any text that people evaluate with. */
  perplexityRatio: 1.005
}

export interface CodecReport {
  readonly codec: RowCodec
  /** Whether it may be taken without being asked for by name. */
  readonly certified: boolean
  /** Undefined: it can't hold the model's numbers. */
  readonly costs?: CodecCosts | undefined
}

export interface CodecCosts {
  /** Kullback-Leibler from the predictions in f32, in nats per token. */
  readonly divergence: Estimate & { readonly p99: number; readonly max: number }
  /** Share of the tokens where both think the same one the most likely. */
  readonly sameTop: number
  /** Perplexity ÷ that in f32. */
  readonly perplexityRatio: number
}

/** Rows of logits with a codec, beside those in f32. */
export class PredictionCosts {
  readonly #divergences: number[] = []
  readonly #losses: number[] = []
  readonly #referenceLosses: number[] = []
  #sameTop = 0

  /** The logits of one row, in the codec and in f32, and the token that came after it. */
  add(logits: Float32Array, reference: Float32Array, token: number): void {
    const [top, logSum] = topOf(logits)
    const [referenceTop, referenceLogSum] = topOf(reference)
    let divergence = 0
    for (let id = 0; id < logits.length; id++) {
      const logP = (reference[id] as number) - referenceLogSum
      divergence += Math.exp(logP) * (logP - ((logits[id] as number) - logSum))
    }
    this.#divergences.push(Math.max(0, divergence)) // rounding may take it below
    this.#losses.push(logSum - (logits[token] as number))
    this.#referenceLosses.push(referenceLogSum - (reference[token] as number))
    if (top === referenceTop) this.#sameTop += 1
  }

  /** Predictions so far. */
  get count(): number {
    return this.#divergences.length
  }

  /** Of the reference. */
  get perplexity(): number {
    return perplexityOf(Float64Array.from(this.#referenceLosses)).value
  }

  get costs(): CodecCosts {
    const sorted = Float64Array.from(this.#divergences).sort()
    const p99 = percentile(sorted, 0.99)
    return {
      divergence: { ...meanOf(sorted), p99, max: sorted.at(-1) as number },
      sameTop: this.#sameTop / sorted.length,
      perplexityRatio: perplexityOf(Float64Array.from(this.#losses)).value / this.perplexity
    }
  }
}

/** The most likely token, and the logarithm of the sum of all exp(logit). */
function topOf(logits: Float32Array): readonly [token: number, logSum: number] {
  let top = 0
  for (let id = 1; id < logits.length; id++) if ((logits[id] as number) > (logits[top] as number)) top = id
  const max = logits[top] as number
  let sum = 0
  for (let id = 0; id < logits.length; id++) sum += Math.exp((logits[id] as number) - max)
  return [top, max + Math.log(sum)]
}

export function isCertified({ divergence, sameTop, perplexityRatio }: CodecCosts): boolean {
  return (
    divergence.value <= CODEC_LIMITS.divergence &&
    divergence.p99 <= CODEC_LIMITS.divergenceP99 &&
    sameTop >= CODEC_LIMITS.sameTop &&
    perplexityRatio <= CODEC_LIMITS.perplexityRatio
  )
}
