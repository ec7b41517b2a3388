/** How fast an answer comes. */

import type { Timings, Usage } from '../api/completions.ts'
import { duration } from '../units.ts'

/** Long enough to be steady, short enough to show a repair, in milliseconds. */
const WINDOW_MS = 4_000
/** Before that it is noise. */
const MIN_MS = 500

/** While it comes: a delta is a token, mostly; a slow reader gets several in one. Times in milliseconds. */
export class TokenRate {
  #times: number[] = []

  add(now: number): void {
    this.#times.push(now)
    const first = this.#times.findIndex((time) => time > now - WINDOW_MS)
    if (first > 0) this.#times = this.#times.slice(first)
  }

  /** Tokens per second; undefined: too early to say. */
  at(now: number): number | undefined {
    const recent = this.#times.filter((time) => time > now - WINDOW_MS)
    const [first] = recent
    if (first === undefined || now - first < MIN_MS) return undefined
    return ((recent.length - 1) * 1_000) / (now - first)
  }
}

/** Of the whole answer, as the gateway measured it; the first token is not counted, since the prompt is in its time. */
export function rateOf(usage: Usage | undefined, timings: Timings | undefined): number | undefined {
  if (usage === undefined || timings === undefined) return undefined
  if (usage.completion_tokens < 2 || timings.decodeMs <= 0) return undefined
  return ((usage.completion_tokens - 1) * 1_000) / timings.decodeMs
}

/** `0.3 s`, `4.2 s`, `42 s`, `2 min`. */
export function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)} s` : duration(ms / 1_000)
}
