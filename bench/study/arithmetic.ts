/** The formulas of docs/study, as they stand there. Times are in milliseconds, sizes in bytes. */
import { largestSpanFrom } from '../../src/swarm/index.ts'
import {
  CONVERSATION,
  HOP_MS,
  type Link,
  POSITIONS,
  type StudiedMachine,
  type StudiedModel
} from './inputs.ts'

/** A frame's head and its row's id; measured at the socket, encrypted (`bench -- hop`, R4: 4d + 54). */
const ROW_BYTES = 54

export type CodecName = 'f32' | 'f16' | 'q8'
/** Per number. q8: 32 of them in 32 bytes and an f16 scale. */
const CODEC_BYTES: Readonly<Record<CodecName, number>> = { f32: 4, f16: 2, q8: 34 / 32 }

/** Of one row between two stages. */
export function rowBytes(width: number, codec: CodecName): number {
  return width * CODEC_BYTES[codec] + ROW_BYTES
}

/** Equal machines that hold the model one after the other, each as many blocks as fit; undefined: a block does not fit. */
export function nodesNeeded(model: StudiedModel, { memoryBytes }: StudiedMachine): number | undefined {
  const { blockCount, blockBytes, embeddingBytes, headBytes, positionBytes } = model
  const sizes = {
    ...{ blockCount, blockBytes, embeddingBytes, headBytes, positions: POSITIONS, computeBytes: 0 },
    positionBytes: blockBytes.map(() => positionBytes / blockCount)
  }
  let nodes = 0
  for (let start = 0; start < blockCount; nodes++) {
    const span = largestSpanFrom(sizes, start, { memoryBytes })
    if (span === undefined) return undefined
    start = span.end
  }
  return nodes
}

/** What one token reads, through all blocks: weights, and the conversation's cache. */
export function computeMs(model: StudiedModel, { bytesPerMs }: StudiedMachine): number {
  return (model.readBytes + CONVERSATION * model.positionBytes) / bytesPerMs
}

/** Once round a chain of `nodes`: computing, what hops cost, one way more than there are hops, and a row on each link. */
export function ringMs(
  model: StudiedModel,
  machine: StudiedMachine,
  nodes: number,
  { rttMs, bitsPerSecond }: Link,
  codec: CodecName = 'f32'
): number {
  const rowMs = (8_000 * rowBytes(model.width, codec)) / bitsPerSecond
  return computeMs(model, machine) + nodes * HOP_MS + ((nodes + 1) * rttMs) / 2 + (nodes - 1) * rowMs
}

/** All-reduces per token: after attention and after the feed-forward part of each block (Shoeybi et al., 2019). */
export function allReduces({ blockCount }: StudiedModel): number {
  return 2 * blockCount
}

/**
 * What tensor parallelism over `nodes` waits for per token beyond computing. Each all-reduce: everybody sends its part to
 * everybody else (one way), or all to one and back (a round trip, and less to send).
 */
export function tensorLinkMs(
  model: StudiedModel,
  nodes: number,
  { rttMs, bitsPerSecond }: Link,
  way: 'direct' | 'star'
): number {
  const sendMs = (8_000 * (nodes - 1) * rowBytes(model.width, 'f32')) / bitsPerSecond
  return allReduces(model) * (way === 'direct' ? rttMs / 2 + sendMs : rttMs + sendMs)
}

/** The same of a pipeline. */
export function pipelineLinkMs(model: StudiedModel, nodes: number, { rttMs, bitsPerSecond }: Link): number {
  return ((nodes + 1) * rttMs) / 2 + ((nodes - 1) * 8_000 * rowBytes(model.width, 'f32')) / bitsPerSecond
}

/** Round trip below which tensor parallelism is the faster one, whatever the rate. */
export function tensorPaysBelowMs(model: StudiedModel, machine: StudiedMachine, nodes: number): number {
  const savedMs = computeMs(model, machine) * (1 - 1 / nodes) + nodes * HOP_MS
  return savedMs / ((allReduces(model) - nodes - 1) / 2)
}

/** Rows of a prompt per second through one of `nodes` stages. */
export function prefillRowsPerSecond(model: StudiedModel, machine: StudiedMachine, nodes: number): number {
  return (1000 * nodes) / ((machine.prefillShare * model.readBytes) / machine.bytesPerMs)
}

/** Mbit per second at which a link carries rows as fast as a stage computes them. */
export function megabitsFor(rowsPerSecond: number, width: number, codec: CodecName): number {
  return (8 * rowsPerSecond * rowBytes(width, codec)) / 1e6
}

/** Rows of a window: what one frame of guesses may have (docs/WAN.md). */
const WINDOW_ROWS = 16

/** A row in one of `nodes` stages, where full windows follow each other: each window reads the stage's weights once. */
export function streamedRowMs(model: StudiedModel, machine: StudiedMachine, nodes: number): number {
  const stageMs = model.readBytes / machine.bytesPerMs / nodes
  return (stageMs + HOP_MS + (WINDOW_ROWS - 1) * machine.prefillShare * stageMs) / WINDOW_ROWS
}

/** Tokens per round of one window of `rows` rows (the last token and guesses), each guess right with probability `a`. */
export function windowTokens(a: number, rows: number): number {
  return a === 1 ? rows : (1 - a ** rows) / (1 - a)
}

/**
 * Times as fast as without guesses, windows following each other without a gap: a run of right guesses has 1 / (1 - a)
 * tokens, costs one ring, and `rowMs` for each token after its first.
 */
export function streamedGain(a: number, ring: number, rowMs: number): number {
  return ring / (ring * (1 - a) + rowMs * a)
}

/** The same of one window of `rows` rows at a time, each row after the first costing `rowMs` more. */
export function windowGain(a: number, rows: number, ring: number, rowMs: number): number {
  return (windowTokens(a, rows) * ring) / (ring + (rows - 1) * rowMs)
}
