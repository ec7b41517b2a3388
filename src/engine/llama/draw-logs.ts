/** How likely drawn tokens and the others were, by their logits. */
import type { DrawLogs } from '../contract.ts'

/** What is out of the question; JSON and the wire know no infinity. */
const LEAST = -9_999

export function emptyLogs(draws: number, alternatives: number): DrawLogs {
  const size = draws * alternatives
  return { drawn: new Float32Array(draws), tokens: new Int32Array(size), logs: new Float32Array(size) }
}

export function firstLogs({ drawn, tokens, logs }: DrawLogs, draws: number): DrawLogs {
  const size = (tokens.length / drawn.length) * draws
  return { drawn: drawn.subarray(0, draws), tokens: tokens.subarray(0, size), logs: logs.subarray(0, size) }
}

/** Says of the draw with this index what its logits are. */
export function fillLogs(
  { drawn, tokens, logs }: DrawLogs,
  draw: number,
  logits: Float32Array,
  token: number
): void {
  const alternatives = tokens.length / drawn.length
  const start = draw * alternatives
  const best = tokens.subarray(start, start + alternatives)
  const largest = fillLargest(logits, best)
  let sum = 0
  for (let id = 0; id < logits.length; id++) sum += Math.exp((logits[id] as number) - largest)
  const base = largest + Math.log(sum)
  const logOf = (id: number): number => Math.max(LEAST, (logits[id] as number) - base)
  drawn[draw] = logOf(token)
  for (const [index, id] of best.entries()) logs[start + index] = logOf(id)
}

/** Fills `best` with the ids of the largest logits, largest first, of equal ones the lower id; returns the largest. */
function fillLargest(logits: Float32Array, best: Int32Array): number {
  let largest = Number.NEGATIVE_INFINITY
  let filled = 0
  let least = Number.NEGATIVE_INFINITY // of a full list
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] as number
    if (logit > largest) largest = logit
    if (best.length === 0 || (filled === best.length && !(logit > least))) continue
    let at = filled < best.length ? filled++ : filled - 1
    for (; at > 0 && (logits[best[at - 1] as number] as number) < logit; at--)
      best[at] = best[at - 1] as number
    best[at] = id
    if (filled === best.length) least = logits[best[filled - 1] as number] as number
  }
  return largest
}
