/** What is known of a request by its end: one line in the log. Neither texts nor keys are in it. */
import type { Guessed, HopReport, Timings, Usage } from '../chat/index.ts'

/** One of a request's answers, as far as it came. */
export interface AnswerRecord {
  model: string
  /** Why it ended: as events say it, an error's code, or `gone`. */
  outcome: string
  /** As they were counted on the way; `usage` has what there was in the end. */
  tokens: number
  usage?: Usage
  timings?: Timings
  guesses?: Guessed
  hops: readonly HopReport[]
  /** What happened to its chain, in order. */
  readonly chain: string[]
  /** From the request to the first token. */
  firstTokenMs?: number
}

export interface RequestRecord {
  readonly id: string
  readonly owner: string
  readonly method: string
  readonly route: string
  /** 499: the client was gone before it. */
  readonly status: number
  readonly ms: number
  readonly bytes: number
  readonly queueMs?: number | undefined
  readonly position?: number | undefined
  readonly answers: readonly AnswerRecord[]
}

export type LogEntry =
  | ({ readonly level: 'info'; readonly event: 'request'; readonly time: string } & RequestRecord)
  | {
      readonly level: 'error'
      readonly event: 'failure'
      readonly time: string
      readonly message: string
      /** For who runs the gateway, never for its clients. */
      readonly stack?: string | undefined
    }

export type GatewayLog = (entry: LogEntry) => void
