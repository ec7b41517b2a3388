/**
 * Text in, text out: what programs ask, in one form, whatever dialect they speak.
 *
 * @example
 * ```ts
 * for await (const event of answers.answer(request, { id, owner, signal })) {
 *   if (event.type === 'text') process.stdout.write(event.text)
 * }
 * ```
 */
import type { Startable } from '../common/index.ts'

/** JSON Schema, as it came: an object that nobody has checked but for its size and depth. */
export type JsonSchema = Readonly<Record<string, unknown>>

/** A tool that the model asks to be called. */
export interface Call {
  readonly id: string
  readonly name: string
  /** JSON text. */
  readonly arguments: string
}

export type Message =
  | { readonly role: 'system' | 'user'; readonly text: string }
  | {
      readonly role: 'assistant'
      readonly text: string
      readonly reasoning?: string | undefined
      readonly calls?: readonly Call[] | undefined
    }
  | {
      readonly role: 'tool'
      readonly call: string
      readonly name?: string | undefined
      readonly text: string
    }

export interface Tool {
  readonly name: string
  readonly description?: string | undefined
  /** Of its arguments: an object's. */
  readonly parameters: JsonSchema
}

export type ToolChoice = 'auto' | 'none' | 'required' | { readonly name: string }
export type ReasoningEffort = 'none' | 'minimal' | 'low' | 'medium' | 'high'

export interface Conversation {
  readonly kind: 'conversation'
  readonly messages: readonly Message[]
  readonly tools: readonly Tool[]
  readonly toolChoice: ToolChoice
  /** More than one call in an answer. */
  readonly parallelCalls: boolean
  /** Undefined: as the model's template has it. */
  readonly reasoning?: ReasoningEffort | undefined
}

/** Text to be continued as it is, or its token ids. */
export interface Continuation {
  readonly kind: 'continuation'
  readonly prompt: string | Int32Array
}

/** What the answer's text is to be like. */
export type Format =
  | { readonly kind: 'text' }
  /** Any JSON object. */
  | { readonly kind: 'json' }
  | { readonly kind: 'schema'; readonly schema: JsonSchema }
  /** GBNF with a rule `root`. */
  | { readonly kind: 'grammar'; readonly grammar: string }

/** What is absent is as the model's files recommend it, else off; the seed is drawn. */
export interface Sampling {
  /** 0: always the most likely token. Default 1. */
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  readonly minP?: number | undefined
  readonly frequencyPenalty?: number | undefined
  readonly presencePenalty?: number | undefined
  readonly repeatPenalty?: number | undefined
  readonly logitBias?: readonly { readonly token: number; readonly bias: number }[] | undefined
  readonly seed?: number | undefined
}

export interface AnswerRequest {
  /** As the program names it. */
  readonly model: string
  readonly input: Conversation | Continuation
  /** Default: what the context has room for. */
  readonly maxTokens?: number | undefined
  /** The answer ends before the first of these. */
  readonly stop: readonly string[]
  readonly sampling: Sampling
  readonly format: Format
  /** How many alternatives to tell of each token, 0: only what was drawn. Undefined: no log probabilities. */
  readonly alternatives?: number | undefined
}

/** A token and the natural logarithm of its probability, before temperature, penalties and grammar. */
export interface TokenLog {
  readonly token: number
  readonly bytes: Uint8Array
  readonly logProbability: number
}

export interface DrawnLog extends TokenLog {
  /** The most likely ones, most likely first. */
  readonly alternatives: readonly TokenLog[]
}

export interface Usage {
  readonly promptTokens: number
  /** Of those, computed for an earlier answer. */
  readonly cachedTokens: number
  /** Reasoning, calls and the end included. */
  readonly answerTokens: number
  readonly reasoningTokens: number
}

/** One hop of the chain, as its stage reports it. */
export interface HopReport {
  readonly peer: string
  readonly start: number
  readonly end: number
  /** Per row in the median, in milliseconds. */
  readonly queueMs: number
  readonly computeMs: number
  readonly bytesOut: number
}

/** Tokens that were guessed before they were drawn, and how many of the guesses were right. */
export interface Guessed {
  readonly guessed: number
  readonly right: number
}

/** Where the time went, in milliseconds. */
export interface Timings {
  readonly templateMs: number
  readonly tokenizeMs: number
  /** To find and open a chain; 0 where one was open. */
  readonly chainMs: number
  /** From the frame sent to the first token. */
  readonly firstTokenMs: number
  /** From the first token to the last. */
  readonly decodeMs: number
}

export type AnswerEvent =
  /** The prompt is known, and a chain is open. */
  | {
      readonly type: 'start'
      readonly model: string
      readonly promptTokens: number
      readonly hops: readonly HopReport[]
    }
  | { readonly type: 'reasoning'; readonly text: string }
  | {
      readonly type: 'text'
      readonly text: string
      readonly logs: readonly DrawnLog[]
      /** When its last token came, in milliseconds of performance.now(). */
      readonly at?: number | undefined
    }
  /** Calls are numbered from 0; the arguments come in parts. */
  | { readonly type: 'call'; readonly index: number; readonly id: string; readonly name: string }
  | { readonly type: 'arguments'; readonly index: number; readonly text: string }
  /** Something happened to the chain; the answer goes on. In plain words. */
  | {
      readonly type: 'chain'
      readonly change: 'lost' | 'waiting' | 'repaired' | 'leaving' | 'relayed'
      readonly message: string
    }
  | {
      readonly type: 'end'
      /** `stop`: the model ended it, or a stop string; `length`: there was no room for more; `calls`: tools are to be called. */
      readonly reason: 'stop' | 'length' | 'calls'
      readonly stop?: string | undefined
      readonly usage: Usage
      readonly timings: Timings
      /** Absent: nothing was to be guessed. */
      readonly guesses?: Guessed | undefined
      readonly hops: readonly HopReport[]
    }

/** A model that can be asked for. */
export interface ModelCard {
  /** Its id. */
  readonly id: string
  /** What to ask for. */
  readonly name: string
  /** Other names for it. */
  readonly aliases: readonly string[]
  readonly blockCount: number
  /** Positions that a session may have at most; undefined: nobody hosts it. */
  readonly context?: number | undefined
  readonly isCovered: boolean
  /** Blocks that nobody hosts, as [start, end). */
  readonly missing: readonly (readonly [number, number])[]
  readonly nodes: number
  readonly licence?: string | undefined
}

export interface AnswerOptions {
  /** Of the request, for logs. */
  readonly id: string
  /** Whose it is: conversations are only continued for the same owner. */
  readonly owner: string
  readonly signal: AbortSignal
  /** How long to wait for a chain where there is none, in milliseconds. Default 0. */
  readonly waitMs?: number | undefined
}

/** Answers requests over chains. All calls throw an AnswerError, or the signal's reason. */
export interface Answers extends Startable {
  /** All that can be asked for, covered or not. */
  models(): Promise<readonly ModelCard[]>
  /** By name, alias or id. */
  model(name: string): Promise<ModelCard>
  /** Tokens that the prompt would have. */
  count(request: Pick<AnswerRequest, 'model' | 'input' | 'format'>, options: AnswerOptions): Promise<number>
  /** Whoever stops reading, or whose signal fires, frees everything at once. */
  answer(request: AnswerRequest, options: AnswerOptions): AsyncGenerator<AnswerEvent, void>
}
