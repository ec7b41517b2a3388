/** Random access to bytes: a file, a buffer, a remote object. */
export interface ByteSource {
  /** Total length in bytes. */
  readonly size: number
  /** Exactly `length` bytes from `offset`; rejects when the range is not inside `[0, size)`. */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>
  close(): Promise<void>
}

/** Where a writer puts its bytes, in order. Resolves when it can take more. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void>
}

/** Metadata value types by the names that GGUF gives them. */
export type ScalarType =
  | 'u8'
  | 'i8'
  | 'u16'
  | 'i16'
  | 'u32'
  | 'i32'
  | 'f32'
  | 'bool'
  | 'string'
  | 'u64'
  | 'i64'
  | 'f64'

export type Scalar = number | bigint | boolean | string

/**
 * One metadata value. 64-bit integers are bigints, all other numbers are numbers. Arrays of arrays are not
 * used by any model and are refused.
 */
export type MetadataValue =
  | { readonly type: ScalarType; readonly value: Scalar }
  | { readonly type: 'array'; readonly itemType: ScalarType; readonly value: readonly Scalar[] }

/** In the order of the file. */
export type Metadata = Map<string, MetadataValue>

export interface TensorInfo {
  readonly name: string
  /** Innermost first, as in the file: for a matrix `[columns, rows]`. */
  readonly dims: readonly number[]
  /** ggml's name in upper case: 'F32', 'Q4_0', 'MXFP4', ... */
  readonly type: string
  /** Which of the model's sources holds it. */
  readonly source: number
  /** From the start of that source, in bytes. */
  readonly offset: number
  readonly byteLength: number
}

/** A model's headers, from one GGUF or from all parts of a multi-part one. The sources stay the caller's. */
export interface GgufModel {
  readonly version: 2 | 3
  readonly alignment: number
  readonly metadata: Metadata
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly sources: readonly ByteSource[]
}

/** The range of blocks `[start, end)` of a model, and whether the slice has the embedding and the head. */
export interface Span {
  readonly start: number
  readonly end: number
  readonly embedding: boolean
  readonly head: boolean
}

/** A slice while its metadata is being written: what a quirk may read and change. */
export interface SliceDraft {
  readonly architecture: string
  readonly blockCount: number
  readonly span: Span
  readonly model: GgufModel
  /** A copy of the model's metadata that quirks change in place. */
  readonly metadata: Metadata
}

/**
 * One thing that makes a slice differ from "keep the tensors, renumber the blocks, set block_count".
 * The table is the list of all we know about architectures (DESIGN 1.3).
 */
export interface Quirk {
  /** Architectures (`general.architecture`) it is for; '*' is all. */
  readonly architectures: readonly string[] | '*'
  /** Why it is needed: what llama.cpp would do without it. */
  readonly reason: string
  /** Changes `draft.metadata`, or throws an UnsupportedModelError. */
  readonly apply: (draft: SliceDraft) => void
}
