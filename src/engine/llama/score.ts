/**
 * How well a row's logits foretell the token that follows, and how far they are from a reference's: the arithmetic of
 * llama-perplexity, single precision where it has single precision, so that the figures are the same.
 */
const { exp, fround, log } = Math

/** A log-probability below this counts as none, and how far those that are kept may lie below the largest logit. */
const DEEPEST = -16
/** The reference's log-probabilities are kept in 16 bits. */
const STEPS = 65_535
/** Added and taken away, it leaves a float rounded to an integer. */
const ROUNDER = 12_582_912

interface Top {
  readonly max: number
  /** The first of the largest. */
  readonly token: number
  /** Of exp(logit - max), over all tokens. */
  readonly sum: number
}

function top(logits: Float32Array): Top {
  let token = 0
  let max = logits[0] as number
  for (let id = 1; id < logits.length; id++) {
    const logit = logits[id] as number
    if (logit > max) {
      max = logit
      token = id
    }
  }
  let sum = 0
  for (let id = 0; id < logits.length; id++) sum += fround(exp(fround((logits[id] as number) - max)))
  return { max, token, sum }
}

/** -ln of the probability that the logits give to a token. */
export function lossOf(logits: Float32Array, token: number): number {
  const { max, sum } = top(logits)
  return -(fround((logits[token] as number) - max) - log(sum))
}

export interface Comparison {
  /** Kullback-Leibler divergence from the reference's distribution, in nats. */
  readonly divergence: number
  /** How much more probable the token is than the reference says. */
  readonly probabilityDelta: number
  readonly sameTop: boolean
}

/** Compares rows with those of a reference, of one vocabulary. */
export class Comparer {
  /** The reference's log-probabilities in 16 bits, as multiples of `#scale` above `#least`. */
  readonly #steps: Uint16Array
  #scale = 0
  #least = 0

  constructor(vocabulary: number) {
    this.#steps = new Uint16Array(vocabulary)
  }

  compare(logits: Float32Array, reference: Float32Array, token: number): Comparison {
    this.#keep(reference)
    const { max, token: topToken, sum } = top(logits)
    const logSum = fround(log(sum))
    const normalizer = fround(max + logSum)
    let divergence = 0
    let referenceTop = 0
    let referenceMax = Number.NEGATIVE_INFINITY
    for (let id = 0; id < logits.length; id++) {
      const logP = this.#logP(id)
      if (logP > referenceMax) {
        referenceMax = logP
        referenceTop = id
      }
      if (logP <= DEEPEST) continue
      const ratio = fround(fround(logP - (logits[id] as number)) + normalizer)
      divergence += fround(fround(exp(logP)) * ratio)
    }
    const p = fround(exp(fround((logits[token] as number) - normalizer)))
    const referenceP = fround(exp(this.#logP(token)))
    return { divergence, probabilityDelta: fround(p - referenceP), sameTop: topToken === referenceTop }
  }

  #logP(id: number): number {
    return fround(fround(this.#scale * (this.#steps[id] as number)) + this.#least)
  }

  #keep(reference: Float32Array): void {
    const { max, sum } = top(reference)
    let min = max
    for (let id = 0; id < reference.length; id++) min = Math.min(min, reference[id] as number)
    min = Math.max(min, fround(max + DEEPEST))
    this.#least = fround(fround(min - max) - fround(log(sum)))
    this.#scale = fround(fround(max - min) / STEPS)
    if (this.#scale === 0) {
      this.#steps.fill(0)
      return
    }
    const inverse = fround(1 / this.#scale)
    for (let id = 0; id < reference.length; id++) {
      const above = fround((reference[id] as number) - min)
      this.#steps[id] = above > 0 ? fround(fround(inverse * above) + ROUNDER) - ROUNDER : 0
    }
  }
}
