import type { Startable } from '../common/index.ts'
import type { EngineError } from './errors.ts'

/** How the KV cache stores keys and values. */
export type KvType = 'f16' | 'f32' | 'bf16' | 'q8_0' | 'q4_0'

/** A token embedding's bytes in a file. */
export interface EmbeddingTable {
  readonly file: string
  /** Of the first row, in bytes. */
  readonly offset: number
  /** ggml's type id. */
  readonly type: number
  /** Bytes per row. */
  readonly rowBytes: number
  /** Rows. */
  readonly vocabulary: number
}

export interface EngineInit {
  /** A GGUF file, or all parts of one in order. */
  readonly files: readonly string[]
  /**
   * Where the rows of a span that starts at block 0 get their first hidden states. Looked up outside of
   * llama.cpp's graph and injected, so that such a span needs no vocabulary of its own (whose unused logits
   * would cost `vocabulary * maxRows * 4` bytes). Absent for a whole model, which embeds by itself.
   */
  readonly embedding?: EmbeddingTable
  /** KV cells, shared by all sequences. */
  readonly context: number
  /** Most sequences alive at once. */
  readonly sequences: number
  /** Most rows in one batch, and so in one pass of the graph. Default 512. */
  readonly maxRows?: number
  /**
   * Most rows with logits in one batch: each costs `vocabulary * 4` bytes of buffers. Default: one for each
   * sequence, since all of them may decode in one step and llama.cpp has buffers for that anyway, but at least 16
   * (a draft's rows).
   */
  readonly maxOutputs?: number
  /** Threads per batch; more than there are free cores is far slower (ggml's threads spin). */
  readonly threads: number
  /**
   * Default true: all sequences share the cells. False gives each `context / sequences` cells of its own, and
   * llama.cpp then cuts and reorders batches: only for measuring whole models that decode a row per sequence.
   */
  readonly kvUnified?: boolean
  readonly kvTypeK?: KvType
  readonly kvTypeV?: KvType
  /** Default true. Without it, numbers that are none in a restored state reach the answers of all sequences. */
  readonly flashAttention?: boolean
  /** Blocks to put on a GPU; 0 keeps everything on the CPU. Default: all, where ggml finds a GPU. */
  readonly gpuLayers?: number
  /** Load the vocabulary only: no rows can be run, but text can be tokenized. */
  readonly vocabularyOnly?: boolean
  /**
   * Whether rows may leave at any block with their hidden states. Costs a call into TypeScript per graph node;
   * default: for every span without a head.
   */
  readonly hiddenStates?: boolean
}

export interface DeviceInfo {
  readonly name: string
  readonly description: string
  readonly kind: 'cpu' | 'gpu' | 'integrated' | 'accelerator'
  /** Bytes. */
  readonly memoryFree: number
  readonly memoryTotal: number
}

/** What a loaded engine is. All counts are of this span, not of the whole model. */
export interface EngineDescription {
  readonly process: number
  readonly libraryVersion: string
  readonly model: string
  readonly blocks: number
  /** Floats per hidden state. */
  readonly width: number
  readonly vocabulary: number
  readonly context: number
  readonly sequences: number
  readonly maxRows: number
  readonly maxOutputs: number
  readonly threads: number
  /** Positions that a sliding-window block sees; 0: no block has a window. */
  readonly slidingWindow: number
  readonly contextTrained: number
  /** Weights in bytes. */
  readonly weightBytes: number
  readonly hiddenStates: boolean
  readonly beginToken: number
  readonly endToken: number
  /** All ids that end an answer; empty for a span without the model's vocabulary. */
  readonly endTokens: readonly number[]
  readonly devices: readonly DeviceInfo[]
}

/** What a group's rows are for. */
export type Output =
  | 'none' // fill the KV cache only
  | 'hidden' // hidden states of all rows
  | 'sample-last' // the token drawn after the last row
  | 'sample-all' // a token after each row, up to the first that is not the next row's (to verify a draft)
  | 'logits-last'
  | 'logits-all'

/** Consecutive rows of one sequence, at `[position, position + tokens.length)`. */
export interface RowGroup {
  readonly sequence: number
  readonly position: number
  /** The ids of the rows; always given, since samplers look back at them. */
  readonly tokens: Int32Array
  /** `[rows, width]` where the rows come from another stage; absent: the span embeds the ids itself. */
  readonly hidden?: Float32Array
  readonly output: Output
  /** With `hidden` output: the block of the span after which to leave (default: its last). */
  readonly leaveAfter?: number
}

/** In the order of the groups. */
export interface GroupResult {
  /** Why this group could not be run; the sequence is as it was before. */
  readonly error?: EngineError
  /** `[rows, width]` for output 'hidden'. */
  readonly hidden?: Float32Array
  /**
   * For 'sample-last' and 'sample-all'; -1 where the grammar does not allow the rows before, or nothing after. With
   * 'sample-all' each but the last is the next row's id: what follows a wrong guess is computed, but not drawn after.
   */
  readonly sampled?: Int32Array
  /** Beside `sampled`, where the sampler has `alternatives`. */
  readonly logs?: DrawLogs
  /** `[rows or 1, vocabulary]` for 'logits-*'. */
  readonly logits?: Float32Array
}

/**
 * How likely tokens were: natural logarithms of the softmax of the logits as the model gave them, before temperature,
 * penalties, bias and grammar; at least -9999. Of a draw that gave -1 they mean nothing.
 */
export interface DrawLogs {
  /** `[draws]`, of the drawn tokens. */
  readonly drawn: Float32Array
  /** `[draws, alternatives]`, the most likely tokens, most likely first. */
  readonly tokens: Int32Array
  /** `[draws, alternatives]`, theirs. */
  readonly logs: Float32Array
}

export interface BatchResult {
  readonly groups: readonly GroupResult[]
  /** Time that the engine's process spent on the batch, in milliseconds. */
  readonly computeMs: number
}

/**
 * How tokens are drawn. The draw after position p depends on `seed` and p only (and the logits), so that a
 * text does not depend on how its rows were cut into batches, on retries or on recovery.
 */
export interface SamplerSettings {
  /** 0: the most likely token. */
  readonly temperature: number
  /** 0: off. */
  readonly topK?: number
  readonly topP?: number
  readonly minP?: number
  /** Tokens looked back at by the three penalties; 0: off. */
  readonly penaltyLastN?: number
  readonly repeatPenalty?: number
  readonly frequencyPenalty?: number
  readonly presencePenalty?: number
  readonly dry?: {
    readonly multiplier: number
    readonly base: number
    readonly allowedLength: number
    /** -1: all of them. */
    readonly penaltyLastN: number
    readonly breakers: readonly string[]
  }
  /** Added to logits; -Infinity: never drawn while anything else can be. */
  readonly logitBias?: readonly { readonly token: number; readonly bias: number }[]
  readonly seed: number
  /** GBNF with a rule `root`; tokens can't be named in it. */
  readonly grammar?: string
  /**
   * Until one of these texts has been drawn the grammar allows everything; from where it begins, it is the grammar's.
   * A token that ends a trigger and goes on with what the grammar does not allow is not drawn.
   */
  readonly grammarTriggers?: readonly string[]
  /** Position of the first generated token: the grammar starts there, the prompt is not matched. */
  readonly generatedFrom?: number
  /**
   * Tell how likely each drawn token was, and so many of the most likely ones: 0 to 20. Absent: nothing is told, and
   * it costs nothing. Never changes what is drawn.
   */
  readonly alternatives?: number
}

export interface LoadOptions {
  readonly signal?: AbortSignal
  /** From 0 to 1. */
  readonly onProgress?: (fraction: number) => void
}

/**
 * Computes a span of a model's blocks for many sequences, each with its own KV cache. Calls run in the order
 * in which they are made. Every call rejects with an EngineError; after `DIED` all sequences are gone.
 *
 * The contract assumes neither FFI nor a process: a browser tab implements it with WebGPU.
 */
export interface Engine extends Startable {
  start(options?: LoadOptions): Promise<void>
  /** Throws before `start` has resolved. */
  readonly description: EngineDescription
  /**
   * For an engine that hangs: ends it as if it had died, for that reason. All calls under way reject with `DIED`,
   * and it is restarted as after any death. Nothing happens while it is dead already.
   */
  restart(reason: string): void
  /** Called each time when the engine dies and when it is back, empty. Returns the unsubscribe function. */
  onStateChange(listener: (state: 'died' | 'restarted', detail: string) => void): () => void

  /** The arrays must stay as they are until it resolves. */
  run(groups: readonly RowGroup[]): Promise<BatchResult>
  /**
   * Cuts a sequence to `length` positions. Resolves to the length kept: `length`, or 0 where a sliding window
   * no longer holds what the rows before `length` need, and the sequence had to be dropped.
   */
  truncate(sequence: number, length: number): Promise<number>
  /** Makes `to` a copy of the first `length` positions of `from`. */
  copy(from: number, to: number, length: number): Promise<void>
  drop(sequence: number): Promise<void>
  /** A sequence's KV state as bytes that `restore` takes on an engine with the same span and profile. */
  save(sequence: number): Promise<Uint8Array>
  /** Replaces a sequence by a saved one; resolves to its length. The ids are needed by samplers. */
  restore(sequence: number, state: Uint8Array, tokens: Int32Array): Promise<number>
  /** Sets how a sequence's tokens are drawn from now on; must precede its first 'sample-*' row. */
  setSampler(sequence: number, settings: SamplerSettings): Promise<void>

  tokenize(text: string, options?: { addSpecial?: boolean; parseSpecial?: boolean }): Promise<Int32Array>
  /** The bytes of each token (one character may be spread over several tokens), and whether it ends the answer. */
  pieces(tokens: Int32Array, options?: { special?: boolean }): Promise<{ bytes: Uint8Array; end: boolean }[]>
  devices(): Promise<DeviceInfo[]>
  /** Resident memory of the engine's process in bytes. */
  memory(): Promise<number>
}
