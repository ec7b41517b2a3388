/** What this gateway did since the page was opened: kept here, since nobody else keeps it. */

export interface Sample {
  /** Seconds since 1970. */
  readonly at: number
  readonly tokensPerSecond: number
  readonly answering: number
  readonly waiting: number
}

/** An hour of them. */
const MOST_SAMPLES = 1_800
export const EVERY_MS = 2_000

/** With one more, without the oldest when there are too many. */
export function withSample(samples: readonly Sample[], sample: Sample): readonly Sample[] {
  return [...samples.slice(-MOST_SAMPLES + 1), sample]
}

/** The means of each minute, the latest first. */
export function perMinute(samples: readonly Sample[]): readonly Sample[] {
  const minutes = Map.groupBy(samples, ({ at }) => Math.floor(at / 60))
  const mean = (values: readonly Sample[], key: keyof Sample): number =>
    values.reduce((sum, value) => sum + value[key], 0) / values.length
  return [...minutes]
    .map(([minute, values]) => ({
      at: minute * 60,
      tokensPerSecond: mean(values, 'tokensPerSecond'),
      answering: mean(values, 'answering'),
      waiting: mean(values, 'waiting')
    }))
    .reverse()
}
