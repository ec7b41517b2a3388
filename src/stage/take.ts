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
  step: Step
): void {
  const byOwner = Map.groupBy(entries, ([lane]) => lane.owner)
  const isContended = byOwner.size > 1
  while (room.rows > 0) {
    const owner = turns.next(byOwner.keys())
    if (owner === undefined) break
    const line = byOwner.get(owner) as Entry[]
    const entry = line.shift() as Entry
    const [lane, queue] = entry
    const taken = takeFrame(lane, queue, room, step)
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
function follows(taken: Waiting, next: Waiting | undefined): boolean {
  return taken.rows.sample === 'none' && next?.isPrompt === true && taken.rows.epoch === next.rows.epoch
}

function join(first: Rows, second: Rows): Rows {
  const tokens = new Int32Array(first.tokens.length + second.tokens.length)
  tokens.set(first.tokens)
  tokens.set(second.tokens, first.tokens.length)
  const joined = { ...first, tokens, sample: second.sample }
  if (first.hidden === undefined || second.hidden === undefined) return joined
  const hidden = new Float32Array(first.hidden.length + second.hidden.length)
  hidden.set(first.hidden)
  hidden.set(second.hidden, first.hidden.length)
  return { ...joined, hidden }
}

function outputsOf({ tokens, sample }: Rows): number {
  if (sample === 'none') return 0
  return sample === 'all' ? tokens.length : 1
}

/** How many of the first rows need no more than `outputs` logits. */
function rowsWithin({ tokens, sample }: Rows, outputs: number): number {
  if (sample === 'all') return Math.min(tokens.length, outputs)
  return sample === 'last' && outputs === 0 ? tokens.length - 1 : tokens.length
}
