/** What a bench is, and the arithmetic that they share. */
export interface Figure {
  readonly value: number
  /** As in DESIGN's table, with its direction: ">= 0.95". */
  readonly target?: string
  readonly unit: string
  /** One value per interleaved run; `value` is their median unless the note says otherwise. */
  readonly runs?: readonly number[]
  readonly note?: string
}

export interface BenchContext {
  readonly flags: string[]
  readonly log: (message: string) => void
}

export interface Bench {
  readonly name: string
  readonly description: string
  run(context: BenchContext): Promise<Record<string, Figure>>
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
}

/** Rounded for reading: the fourth digit of a noisy machine means nothing. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4))
}
