/** The frame rule (DESIGN 4) as a pure function, and the cutting of frames. */
import { decodeRows, type Frame, type SampleMode } from '../net/index.ts'

/** What a stage holds of a session: positions `[0, length)`, as of the consumer's `epoch`. */
export interface FrameState {
  readonly epoch: number
  readonly length: number
}

export type FrameVerdict =
  | { readonly action: 'run' }
  | { readonly action: 'drop' }
  /** Cut everything back to `length`, then run. */
  | { readonly action: 'truncate'; readonly length: number }
  | { readonly action: 'need' }

/**
 * Decoding, rejected speculation, retries, continued conversations and recovery are all this rule: frames of
 * an older epoch are stale; in the same epoch a frame either follows, repeats or misses something; a newer
 * epoch rewrites what it starts in. Whoever has the epoch of the row before a frame, or a later one, has all rows before
 * it as they were meant: what rewrote one since would have a later epoch still. So nothing that is lost on the way goes
 * unnoticed (the check is that of Raft's log, Ongaro and Ousterhout 2014).
 */
export function judge(
  state: FrameState,
  frame: Pick<Frame, 'epoch' | 'follows' | 'position' | 'tokens'>
): FrameVerdict {
  const { epoch, follows, position } = frame
  if (epoch < state.epoch) return { action: 'drop' }
  if (epoch > state.epoch) {
    const isKnown = position <= state.length && follows <= state.epoch
    return isKnown ? { action: 'truncate', length: position } : { action: 'need' }
  }
  if (position === state.length) return { action: 'run' }
  return position + frame.tokens.length <= state.length ? { action: 'drop' } : { action: 'need' }
}

/** Rows of a frame, on their way through a stage. */
export interface Rows {
  readonly epoch: number
  readonly position: number
  readonly tokens: Int32Array
  readonly hidden?: Float32Array
  readonly sample: SampleMode
}

/** A frame's payload as rows of `width` floats. What the floats are is the engine's to check. */
export function rowsOf(frame: Frame, width: number): Rows {
  const { epoch, position, tokens, sample, codec, payload } = frame
  if (codec === 'none') return { epoch, position, tokens, sample }
  const count = tokens.length * width
  if (codec === 'f32') {
    const hidden = new Float32Array(payload.buffer, payload.byteOffset, count)
    return { epoch, position, tokens, hidden, sample }
  }
  const hidden = new Float32Array(count)
  decodeRows(codec, payload, width, hidden)
  return { epoch, position, tokens, hidden, sample }
}

/** The first `count` rows, and the rest. The token after the last row belongs to the rest. */
export function splitRows(rows: Rows, count: number): [Rows, Rows | undefined] {
  const total = rows.tokens.length
  if (count >= total) return [rows, undefined]
  const width = rows.hidden === undefined ? 0 : rows.hidden.length / total
  const part = (from: number, to: number, sample: SampleMode): Rows => ({
    epoch: rows.epoch,
    position: rows.position + from,
    tokens: rows.tokens.subarray(from, to),
    ...(rows.hidden === undefined ? {} : { hidden: rows.hidden.subarray(from * width, to * width) }),
    sample
  })
  return [part(0, count, rows.sample === 'all' ? 'all' : 'none'), part(count, total, rows.sample)]
}
