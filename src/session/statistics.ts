import type { FrameTiming } from '../net/index.ts'
import { DECODE_ROWS } from '../stage/index.ts'

/** The medians are of as many decoded tokens: a long session's last ones say how it is now. */
const MOST_TOKENS = 4_096
/** What further rows cost is about now. */
const MOST_WINDOWS = 32

/** Medians over the session, per token that was decoded in a frame of its own. Times in milliseconds. */
export interface HopFigures {
  readonly queueMs: number
  readonly computeMs: number
  /** What the hop sent on: a frame to the next stage, or the token's id to the consumer. */
  readonly bytesOut: number
  /** Tokens that the figures are of: those that were guessed, and came in a window, are none. */
  readonly tokens: number
  /** Rows computed: of prompts, of tokens, and of wrong guesses. */
  readonly rows: number
}

/** What a frame takes to compute while decoding, and what each further row of it does, in milliseconds. */
export interface FrameCost {
  readonly frameMs: number
  readonly rowMs: number
}

/** Collects what one stage reports of its frames. */
export class HopStatistics {
  readonly #decoded: FrameTiming[] = []
  /** The last frames that no prompt's rows were in, whatever their rows, and the last with a prompt's. */
  readonly #windows: FrameTiming[] = []
  #prompt: FrameTiming | undefined
  #rows = 0
  #cost: FrameCost | undefined
  #isStale = false

  add(timing: FrameTiming): void {
    this.#rows += timing.rows
    this.#isStale = true
    if (timing.rows === 1) keep(this.#decoded, timing, MOST_TOKENS)
    if (timing.rows <= DECODE_ROWS) keep(this.#windows, timing, MOST_WINDOWS)
    else this.#prompt = timing
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

  /** Of the last frames; undefined while there were none that tell. */
  get cost(): FrameCost | undefined {
    if (this.#isStale) {
      const rowMs = this.#rowMs()
      const frameMs = median(this.#windows.map(({ computeMicroseconds }) => computeMicroseconds)) / 1000
      this.#cost = rowMs === undefined || this.#windows.length === 0 ? undefined : { frameMs, rowMs }
    }
    this.#isStale = false
    return this.#cost
  }

  /** The median of all pairs of windows (Theil-Sen), so that one hiccup changes nothing; or of a prompt's rows. */
  #rowMs(): number | undefined {
    const slopes = this.#windows.flatMap((first, index) =>
      this.#windows.slice(index + 1).flatMap((second) => {
        const rows = second.rows - first.rows
        return rows === 0 ? [] : [(second.computeMicroseconds - first.computeMicroseconds) / rows]
      })
    )
    if (slopes.length > 0) return Math.max(0, median(slopes)) / 1000
    return this.#prompt && this.#prompt.computeMicroseconds / this.#prompt.rows / 1000
  }
}

function keep(timings: FrameTiming[], timing: FrameTiming, most: number): void {
  timings.push(timing)
  if (timings.length > most) timings.shift()
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  if (sorted.length === 0) return 0
  if (sorted.length % 2 === 1) return sorted[middle] as number
  return ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}
