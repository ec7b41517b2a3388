/** Figures of many values, as llama-perplexity prints them. */
const { fround } = Math

export interface Estimate {
  readonly value: number
  /** Standard error. */
  readonly error: number
}

export function meanOf(values: Float64Array): Estimate {
  let sum = 0
  let squares = 0
  for (const value of values) {
    sum += value
    squares += value * value
  }
  const { length } = values
  const mean = sum / length
  const variance = squares / length - mean * mean
  return { value: mean, error: variance > 0 ? Math.sqrt(variance / (length - 1)) : 0 }
}

/** e to the mean, in nats; its error by the first derivative. */
export function perplexityOf(losses: Float64Array): Estimate {
  const { value, error } = meanOf(losses)
  return { value: Math.exp(value), error: Math.exp(value) * error }
}

/** Of values in rising order, between the two that are next to it; in llama-perplexity's single precision. */
export function percentile(sorted: Float64Array, fraction: number): number {
  const place = fround(fround(fraction) * (sorted.length - 1))
  const below = Math.floor(place)
  const above = Math.min(below + 1, sorted.length - 1)
  const weight = fround(place - below)
  const [low, high] = [fround(sorted[below] as number), fround(sorted[above] as number)]
  return fround(fround(fround(1 - weight) * low) + fround(weight * high))
}
