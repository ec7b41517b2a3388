/** How much of a model fits on a machine. */
import type { Profile } from '../net/index.ts'
import type { Range } from './routing-search.ts'

/** In bytes; offers round down to them, and who makes an offer must compute what others do. */
export const MEMORY_UNIT = 1024
export const DISK_UNIT = 1024 * 1024

/** A model that this node could host blocks of, as it would host them. All sizes are in bytes. */
export interface HostableModel {
  /** The model's id. */
  readonly model: string
  readonly name: string
  readonly architecture: string
  readonly blockCount: number
  /** Only stages of an equal profile make a chain with it. */
  readonly profile: Profile
  /** Weights of each block. */
  readonly blockBytes: readonly number[]
  /** What a span with the first block needs beside them. */
  readonly embeddingBytes: number
  /** What a span with the last block needs beside them. */
  readonly headBytes: number
  /** Of the KV cache, of each block. */
  readonly positionBytes: readonly number[]
  /** Positions that the KV cache is to have, shared by all sessions. */
  readonly positions: number
  /** Buffers that any span needs. */
  readonly computeBytes: number
  /** What one row takes in one block on this machine, if that was measured. */
  readonly blockMicroseconds?: number | undefined
}

export interface Span extends Range {
  /** The model's id. */
  readonly model: string
}

/** What a node may use at most, in bytes. */
export interface Caps {
  readonly memoryBytes: number
  /** For the files of a span; the whole model is used where it lies. Absent: no cap. */
  readonly diskBytes?: number | undefined
}

/** What a node has for one model; others compute from it what the node could host. */
export interface Room {
  /** For weights and KV cache, in bytes. */
  readonly memoryBytes: number
  /** For weights, in bytes; Infinity: no cap. */
  readonly diskBytes: number
  /** Positions of the KV cache that it will have. */
  readonly positions: number
}

/** What of it sizes follow from. */
export type ModelSizes = Pick<
  HostableModel,
  | ('blockCount' | 'blockBytes' | 'embeddingBytes' | 'headBytes')
  | ('positionBytes' | 'positions' | 'computeBytes')
>

/** Of memory, buffers included. */
export function spanBytes(model: ModelSizes, range: Range): number {
  const sizes = sizesOf(model, model.positions)
  return model.computeBytes + sizes.weights(range) + sizes.cache(range)
}

export function roomOf(model: ModelSizes, { memoryBytes, diskBytes }: Caps): Room {
  return {
    memoryBytes: Math.max(0, roundDown(memoryBytes - model.computeBytes, MEMORY_UNIT)),
    diskBytes: roundDown(diskBytes ?? Number.POSITIVE_INFINITY, DISK_UNIT),
    positions: model.positions
  }
}

function roundDown(bytes: number, unit: number): number {
  return Math.floor(bytes / unit) * unit
}

/** As many blocks from `start` on as fit; undefined: not even one does. */
export function largestSpanFrom(model: ModelSizes, start: number, caps: Caps): Range | undefined {
  const end = reach(model, roomOf(model, caps))[start] ?? 0
  return end > start ? { start, end } : undefined
}

/** By model, then room: a swarm's nodes offer the same again and again, and each is looked at in every decision. */
const reaches = new WeakMap<ModelSizes, Map<string, Uint16Array>>()
/** Of a model's; when there are more, all are worked out anew. */
const MAX_REACHES = 20_000

/** For each start, where the longest span from there ends; the start itself where none fits. */
export function reach(model: ModelSizes, room: Room): Uint16Array {
  const known = reaches.get(model) ?? new Map<string, Uint16Array>()
  if (known.size === 0 || known.size > MAX_REACHES) {
    known.clear()
    reaches.set(model, known)
  }
  const key = `${room.memoryBytes} ${room.diskBytes} ${room.positions}`
  const ends = known.get(key) ?? reachOf(model, room)
  known.set(key, ends)
  return ends
}

function reachOf(model: ModelSizes, room: Room): Uint16Array {
  const { blockCount } = model
  const { weights, cache } = sizesOf(model, room.positions)
  const fits = (range: Range, diskBytes: number): boolean =>
    weights(range) <= diskBytes && weights(range) + cache(range) <= room.memoryBytes
  const ends = new Uint16Array(blockCount)
  let end = 0
  for (let start = 0; start < blockCount; start++) {
    end = Math.max(start, end)
    while (end < blockCount && fits({ start, end: end + 1 }, room.diskBytes)) end++
    ends[start] = end
  }
  if (fits({ start: 0, end: blockCount }, Number.POSITIVE_INFINITY)) ends[0] = blockCount
  return ends
}

interface Sizes {
  weights(range: Range): number
  cache(range: Range): number
}

function sizesOf(model: ModelSizes, positions: number): Sizes {
  const { blockCount, embeddingBytes, headBytes } = model
  const upTo = (sizes: readonly number[]): number[] => {
    const sums = [0]
    for (const size of sizes) sums.push((sums.at(-1) as number) + size)
    return sums
  }
  const [blocks, caches] = [upTo(model.blockBytes), upTo(model.positionBytes)]
  const between = (sums: number[], { start, end }: Range): number =>
    (sums[end] as number) - (sums[start] as number)
  return {
    weights: (range) =>
      between(blocks, range) +
      (range.start === 0 ? embeddingBytes : 0) +
      (range.end === blockCount ? headBytes : 0),
    cache: (range) => positions * between(caches, range)
  }
}
