/**
 * Who should load what, so that a model that has no chain gets one.
 *
 * Nobody gives orders: every node works out the same arrangement from the same directory, and takes its own part of
 * it. That is safe as nodes act at different times and see changes at different times: an arrangement costs the
 * moves that are left to be made, and a move that was made takes exactly its cost away. Whatever was cheapest before
 * is still cheapest after some have done their part.
 */
import type { Range } from './routing-search.ts'

export interface Candidate {
  readonly peer: string
  /** What it holds or loads of the model. */
  readonly held?: Range | undefined
  /** For each start, where its longest span would end. Absent: it stays as it is. */
  readonly ends?: Uint16Array | undefined
  /** Its memory, in any unit. Large nodes are kept for where they are needed. */
  readonly size: number
  /** It would have to give something up. */
  readonly isBusy: boolean
}

export interface Arrangement {
  /** Blocks that nobody would hold. */
  readonly gaps: readonly Range[]
  /** Who has to load what. */
  readonly targets: ReadonlyMap<string, Range>
}

/** Loads by those who have nothing to do are cheaper than any move: there are fewer of them than a model has blocks. */
const MOVE_COST = 10_000
/** Ways to cover the first blocks that are followed on, for each number of blocks; all of them for some ten nodes. */
const MOST_STATES = 256
/** More than this many candidates are too many to try; a choice of them is enough. */
const MOST_CANDIDATES = 64
const CHOICE_PER_START = 3

/**
 * Covers `blockCount` blocks with the fewest moves, if that can be done; else only those who host nothing get targets,
 * which leave as few gaps as simple means allow: rearranging what can't be completed helps nobody.
 */
export function arrange(blockCount: number, candidates: readonly Candidate[]): Arrangement {
  const idle = fill(blockCount, candidates.filter(isHolder), candidates.filter(isIdle))
  if (idle.gaps.length === 0) return idle
  const spare = spares(blockCount, candidates)
  const kept = candidates.filter(isHolder).filter((candidate) => !spare.has(candidate))
  const free = candidates.filter((candidate) => candidate.held === undefined || spare.has(candidate))
  const moved = fill(blockCount, kept, free)
  if (moved.gaps.length === 0) return moved
  const targets = search(blockCount, choice(candidates))
  return targets === undefined ? idle : { gaps: [], targets }
}

interface Holder extends Candidate {
  readonly held: Range
}

function isHolder(candidate: Candidate): candidate is Holder {
  return candidate.held !== undefined
}

function isIdle({ isBusy, ends }: Candidate): boolean {
  return !isBusy && ends !== undefined
}

/** From left to right: the kept spans, and who of `free` suits best wherever they leave a gap. */
function fill(blockCount: number, kept: readonly Holder[], free: readonly Candidate[]): Arrangement {
  const gaps: Range[] = []
  const targets = new Map<string, Range>()
  const left = new Set(free)
  const spans = kept.map(({ held }) => held).sort((a, b) => a.start - b.start)
  let next = 0
  let at = 0
  while (at < blockCount) {
    let end = at
    while (next < spans.length && (spans[next] as Range).start <= at) {
      end = Math.max(end, (spans[next++] as Range).end)
    }
    if (end === at) {
      const gap = { start: at, end: spans[next]?.start ?? blockCount }
      const candidate = bestFor(gap, left)
      if (candidate === undefined) {
        gaps.push(gap)
        end = gap.end
      } else {
        end = candidate.ends?.[at] as number
        left.delete(candidate)
        targets.set(candidate.peer, widened(candidate, { start: at, end }, blockCount))
      }
    }
    at = end
  }
  return { gaps, targets }
}

/** The smallest one that fills the gap, else the one that gets farthest; whoever hosts nothing before the others. */
function bestFor({ start, end }: Range, candidates: Iterable<Candidate>): Candidate | undefined {
  const key = (candidate: Candidate): number[] => {
    const reached = Math.min(end, candidate.ends?.[start] ?? 0)
    return [candidate.isBusy ? 1 : 0, -reached, candidate.size]
  }
  let best: Candidate | undefined
  for (const candidate of candidates) {
    if ((candidate.ends?.[start] ?? 0) <= start) continue
    if (best === undefined || isBefore(key(candidate), key(best), candidate.peer < best.peer))
      best = candidate
  }
  return best
}

function isBefore(a: readonly number[], b: readonly number[], ifEqual: boolean): boolean {
  const differs = a.findIndex((value, index) => value !== b[index])
  return differs < 0 ? ifEqual : (a[differs] as number) < (b[differs] as number)
}

/** At the model's end there may be memory for blocks before: they make chains shorter. */
function widened({ ends }: Candidate, span: Range, blockCount: number): Range {
  let { start } = span
  while (span.end === blockCount && ends?.[start - 1] === blockCount) start--
  return { start, end: span.end }
}

/** Those who can all leave without leaving a gap, larger ones first. */
function spares(blockCount: number, candidates: readonly Candidate[]): Set<Candidate> {
  const holders = new Uint32Array(blockCount)
  const all = candidates.filter(isHolder)
  for (const { held } of all) for (let block = held.start; block < held.end; block++) holders[block]! += 1
  const found = new Set<Candidate>()
  for (const candidate of all.toSorted((a, b) => b.size - a.size || (a.peer < b.peer ? -1 : 1))) {
    const { held, ends } = candidate
    const own = holders.subarray(held.start, held.end)
    if (ends === undefined || own.some((count) => count < 2)) continue
    for (let index = 0; index < own.length; index++) own[index]! -= 1
    found.add(candidate)
  }
  return found
}

/** Of a large swarm: those with nothing to do who hold most, and who gets farthest from each start. */
function choice(candidates: readonly Candidate[]): readonly Candidate[] {
  if (candidates.length <= MOST_CANDIDATES) return candidates
  const free = candidates
    .filter(({ held }) => held === undefined)
    .sort((a, b) => Number(a.isBusy) - Number(b.isBusy) || b.size - a.size || (a.peer < b.peer ? -1 : 1))
  const byStart = Map.groupBy(candidates.filter(isHolder), ({ held }) => held.start)
  const holders = [...byStart.values()].flatMap((group) =>
    group.sort((a, b) => b.held.end - a.held.end || (a.peer < b.peer ? -1 : 1)).slice(0, CHOICE_PER_START)
  )
  return [...free.slice(0, MOST_CANDIDATES), ...holders]
}

/** A way to cover the first blocks. */
interface State {
  readonly used: bigint
  readonly cost: number
  /** Blocks that those who are not used yet could hold together. */
  readonly room: number
  readonly step: Step | undefined
}

interface Step {
  readonly candidate: Candidate
  /** Undefined: it keeps what it has. */
  readonly target: Range | undefined
  readonly before: Step | undefined
}

/**
 * The cheapest way from block 0 to the end, where each step is a candidate that keeps or loads a span. Exact while there
 * are no more states than it follows. Beyond, states that can't be completed are left out by counting blocks, so that
 * with blocks of equal size something is found whenever there is something.
 */
function search(
  blockCount: number,
  candidates: readonly Candidate[]
): ReadonlyMap<string, Range> | undefined {
  const sorted = candidates.toSorted(
    (a, b) => Number(a.isBusy) - Number(b.isBusy) || a.size - b.size || (a.peer < b.peer ? -1 : 1)
  )
  const rooms = sorted.map(
    ({ ends }) => ends?.reduce((most, end, start) => Math.max(most, end - start), 0) ?? 0
  )
  const fixed = fixedFrom(blockCount, candidates)
  const layers = Array.from({ length: blockCount + 1 }, () => new Map<bigint, State>())
  const room = rooms.reduce((sum, blocks) => sum + blocks, 0)
  layers[0]?.set(0n, { used: 0n, cost: 0, room, step: undefined })
  for (let at = 0; at < blockCount; at++) {
    for (const state of cheapest(layers[at] as Map<bigint, State>)) {
      const idleEnds = new Set<number>() // among those with nothing to do, the smallest that gets so far will do
      for (const [index, candidate] of sorted.entries()) {
        const bit = 1n << BigInt(index)
        if ((state.used & bit) !== 0n) continue
        const { held, ends, isBusy } = candidate
        const kept = held !== undefined && held.start <= at ? held.end : 0
        const end = ends?.[at] ?? 0
        const step = (target: Range | undefined, to: number, cost: number): void => {
          if (to <= at) return
          const left = state.room - (rooms[index] as number)
          if (left < blockCount - to - (fixed[to] as number)) return
          const next = { used: state.used | bit, cost: state.cost + cost, room: left }
          const layer = layers[to] as Map<bigint, State>
          if ((layer.get(next.used)?.cost ?? Number.POSITIVE_INFINITY) <= next.cost) return
          layer.set(next.used, { ...next, step: { candidate, target, before: state.step } })
        }
        step(undefined, kept, 0)
        if (end <= kept || (!isBusy && idleEnds.has(end))) continue
        if (!isBusy) idleEnds.add(end)
        step(widened(candidate, { start: at, end }, blockCount), end, isBusy ? MOVE_COST : 1)
      }
    }
  }
  const [best] = cheapest(layers[blockCount] as Map<bigint, State>)
  return best === undefined ? undefined : targetsOf(best.step)
}

function cheapest(layer: ReadonlyMap<bigint, State>): State[] {
  return [...layer.values()].sort((a, b) => a.cost - b.cost || b.room - a.room).slice(0, MOST_STATES)
}

/** For each block, how many from there on are held by those who stay as they are. */
function fixedFrom(blockCount: number, candidates: readonly Candidate[]): Uint16Array {
  const isHeld = new Uint8Array(blockCount)
  for (const { held, ends } of candidates) {
    if (held !== undefined && ends === undefined) isHeld.fill(1, held.start, held.end)
  }
  const counts = new Uint16Array(blockCount + 1)
  for (let block = blockCount - 1; block >= 0; block--) {
    counts[block] = (counts[block + 1] as number) + (isHeld[block] as number)
  }
  return counts
}

function targetsOf(last: Step | undefined): Map<string, Range> {
  const targets = new Map<string, Range>()
  for (let step = last; step !== undefined; step = step.before) {
    if (step.target !== undefined) targets.set(step.candidate.peer, step.target)
  }
  return targets
}
