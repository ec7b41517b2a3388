/** Which rows leave next, and whether they are drawn after. */
import type { SampleMode } from '../net/index.ts'
import { DECODE_ROWS } from '../stage/index.ts'
import { prefillRows } from '../swarm/index.ts'

export interface Waiting {
  /** Rows that have left. */
  readonly fed: number
  /** Ids that are no guesses. The last one's row is drawn after, and so is each guess behind it. */
  readonly certain: number
  /** Ids with the guesses behind them. */
  readonly end: number
  /** Positions that there is room for. */
  readonly capacity: number
}

export function nextWindow(waiting: Waiting): { count: number; sample: SampleMode } | undefined {
  const { fed, certain, end, capacity } = waiting
  const isDrawn = fed >= certain - 1
  const most = isDrawn ? Math.min(DECODE_ROWS, end - fed) : prefillRows(certain - fed)
  const count = Math.min(most, capacity - fed)
  if (count <= 0) return undefined // there will be room, or a hop less
  // Also a guess alone: so the tail knows that it is one.
  if (isDrawn) return { count, sample: count === 1 && fed < certain ? 'last' : 'all' }
  return { count, sample: fed + count === certain ? 'last' : 'none' }
}
