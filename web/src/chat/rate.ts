/** How fast an answer comes. */
import type { Timings, Usage } from '../api/completions.ts'

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

/** `320 ms`, `4.2 s`, `2 min 5 s`. */
export function inWords(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`
}
