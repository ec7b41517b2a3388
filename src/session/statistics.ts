import type { FrameTiming } from '../net/index.ts'

/** The medians are of as many decoded tokens: a long session's last ones say how it is now. */
const MOST_TOKENS = 4_096

/** Per decoded token, medians over the session. Times in milliseconds. */
export interface HopFigures {
  readonly queueMs: number
  readonly computeMs: number
  /** What the hop sent on: a frame to the next stage, or the token's id to the consumer. */
  readonly bytesOut: number
  /** Tokens that the figures are of. */
  readonly tokens: number
  /** Rows computed, of prompts and of tokens. */
  readonly rows: number
}

/** Collects what one stage reports of its frames. */
export class HopStatistics {
  readonly #decoded: FrameTiming[] = []
  #rows = 0

  add(timing: FrameTiming): void {
    this.#rows += timing.rows
    if (timing.rows > 1) return
    this.#decoded.push(timing)
    if (this.#decoded.length > MOST_TOKENS) this.#decoded.shift()
  }

  get figures(): HopFigures {
    const of = (value: (timing: FrameTiming) => number): number => median(this.#decoded.map(value))
    return {
      queueMs: of(({ queueMicroseconds }) => queueMicroseconds) / 1000,
      computeMs: of(({ computeMicroseconds }) => computeMicroseconds) / 1000,
      bytesOut: of(({ bytesOut }) => bytesOut),
      tokens: this.#decoded.length,
      rows: this.#rows
    }
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  if (sorted.length === 0) return 0
  if (sorted.length % 2 === 1) return sorted[middle] as number
  return ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}
