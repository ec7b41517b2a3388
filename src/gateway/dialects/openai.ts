/** What OpenAI's older dialects have in common in their answers. */
import { randomUUID } from 'node:crypto'
import type { HopReport, TokenLog, Usage } from '../../chat/index.ts'
import { VERSION } from '../../common/index.ts'
import type { Ended } from './whole.ts'

const FINGERPRINT = `shoal-${VERSION}`

export function newId(prefix: string): string {
  return prefix + randomUUID().replaceAll('-', '')
}

/** `wall`: milliseconds since 1970. */
export function headOf(prefix: string, object: string, model: string, wall: number) {
  return {
    id: newId(prefix),
    object,
    created: Math.floor(wall / 1_000),
    model,
    system_fingerprint: FINGERPRINT
  }
}

export function usageOf(usage: Usage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.answerTokens,
    total_tokens: usage.promptTokens + usage.answerTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens }
  }
}

/** What a token that can't come has, since JSON has no infinity: as OpenAI says it. */
const IMPOSSIBLE = -9999

export function logprobOf({ logProbability }: TokenLog): number {
  return Math.max(logProbability, IMPOSSIBLE) || 0
}

const decoder = new TextDecoder()

/** A part of a character is a replacement character, and `bytes` has it. */
export function textOfToken({ bytes }: TokenLog): string {
  return decoder.decode(bytes)
}

export function chatLog(log: TokenLog) {
  return { token: textOfToken(log), logprob: logprobOf(log), bytes: [...log.bytes] }
}

interface Details {
  readonly hops: readonly HopReport[]
  readonly timings: Ended['end']['timings']
}

/** Of each answer, for those who ask with `x-shoal-details: 1`. */
export function detailsOf(wholes: readonly Ended[]): readonly Details[] {
  return wholes.map(({ end: { hops, timings } }) => ({ hops, timings }))
}
