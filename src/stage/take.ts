/** Moves rows that wait into a step: owners in turn, and of each owner the lane that was served longest ago. */
import type { Lane } from './batcher.ts'
import { type Rows, splitRows } from './frames.ts'
import type { Turns } from './turns.ts'

export interface Waiting {
  readonly rows: Rows
  readonly since: number
  readonly isPrompt: boolean
}

export interface Queue {
  waiting: Waiting[]
  /** Reasons to leave the lane alone: see Batcher.hold. */
  holds: number
}

/** What is run of each lane. */
export type Step = Map<Lane, Waiting>

export type Entry = readonly [Lane, Queue]

/** How much more a step can have. */
export interface Room {
  rows: number
  outputs: number
}

/** So many lanes, and so many rows, are enough for a step: nobody else is taken into it then. */
export interface Enough {
  readonly lanes: number
  readonly rows: number
}

/** Frames up to this many rows are decoding, as are windows of guesses that are joined to no more than this. */
export const DECODE_ROWS = 16

/**
 * Pieces of a prompt that a stage before cut are put together again up to this. Beyond it one frame per step leaves
 * the next stage something to do meanwhile.
 */
const SMALL_ROWS = 64

/** Lanes that got something go to the end of the line. */
export function take(
  queues: Map<Lane, Queue>,
  entries: readonly Entry[],
  turns: Turns,
  room: Room,
  step: Step,
  enough?: Enough
): void {
  let rows = 0
  const byOwner = Map.groupBy(entries, ([lane]) => lane.owner)
  const isContended = byOwner.size > 1
  while (room.rows > 0) {
    const owner = turns.next(byOwner.keys())
    if (owner === undefined) break
    const line = byOwner.get(owner) as Entry[]
    const entry = line.shift() as Entry
    const [lane, queue] = entry
    const mayBegin = enough === undefined || step.size < enough.lanes || rows < enough.rows
    const taken = mayBegin || step.has(lane) ? takeFrame(lane, queue, room, step) : 0
    rows += taken
    if (taken > 0) {
      turns.served(owner, taken)
      queues.delete(lane)
      queues.set(lane, queue)
      const so = step.get(lane) as Waiting
      // An owner's only prompt must be able to get as much as another's many.
      if ((isContended || so.rows.tokens.length < SMALL_ROWS) && follows(so, queue.waiting[0]))
        line.push(entry)
    }
    if (line.length === 0) byOwner.delete(owner)
  }
}

/** Returns the rows taken. */
function takeFrame(lane: Lane, queue: Queue, room: Room, step: Step): number {
  const { rows, since, isPrompt } = queue.waiting[0] as Waiting
  const isTail = lane.leaveAfter === undefined
  const count = Math.min(room.rows, isTail ? rowsWithin(rows, room.outputs) : rows.tokens.length)
  if (count === 0) return 0
  const [now, later] = splitRows(rows, count)
  if (later === undefined) queue.waiting.shift()
  else queue.waiting[0] = { rows: later, since, isPrompt }
  room.rows -= count
  if (isTail) room.outputs -= outputsOf(now)
  const before = step.get(lane)
  step.set(
    lane,
    before === undefined ? { rows: now, since, isPrompt } : { ...before, rows: join(before.rows, now) }
  )
  return count
}

/** Whether a lane's next frame can be run as one with what is taken of it. */
function follows({ rows }: Waiting, next: Waiting | undefined): boolean {
  if (next === undefined || rows.epoch !== next.rows.epoch) return false
  if (next.isPrompt) return rows.sample === 'none'
  return isJoined(rows, rows.tokens.length, next.rows)
}

/** Whether `next` is a window of guesses, to go with the `count` rows that are drawn after before it. */
function isJoined({ tokens, sample }: Rows, count: number, next: Rows): boolean {
  const isDrawn = sample === 'all' || (sample === 'last' && tokens.length === 1)
  return isDrawn && next.sample === 'all' && count + next.tokens.length <= DECODE_ROWS
}

/** Rows of a lane that a step takes at most: those at its head, and windows that can be joined to them. */
export function rowsAhead({ waiting }: Queue): number {
  const head = waiting[0] as Waiting
  let count = head.rows.tokens.length
  for (const { rows } of head.isPrompt ? [] : waiting.slice(1)) {
    if (rows.epoch !== head.rows.epoch || !isJoined(head.rows, count, rows)) break
    count += rows.tokens.length
  }
  return count
}

function join(first: Rows, second: Rows): Rows {
  const tokens = new Int32Array(first.tokens.length + second.tokens.length)
  tokens.set(first.tokens)
  tokens.set(second.tokens, first.tokens.length)
  const joined = { ...first, tokens, sample: first.sample === 'none' ? second.sample : 'all' }
  if (first.hidden === undefined || second.hidden === undefined) return joined
  const hidden = new Float32Array(first.hidden.length + second.hidden.length)
  hidden.set(first.hidden)
  hidden.set(second.hidden, first.hidden.length)
  return { ...joined, hidden }
}

/** Draws that rows ask for, each of which needs their logits. */
export function outputsOf({ tokens, sample }: Rows): number {
  if (sample === 'none') return 0
  return sample === 'all' ? tokens.length : 1
}

/** How many of the first rows need no more than `outputs` logits. */
function rowsWithin({ tokens, sample }: Rows, outputs: number): number {
  if (sample === 'all') return Math.min(tokens.length, outputs)
  return sample === 'last' && outputs === 0 ? tokens.length - 1 : tokens.length
}
