/** What a node that decides what to host sees of a model, and who could host what of it. */
import type { Profile, StageInfo } from '../net/index.ts'
import type { HostedStage } from './discover.ts'
import type { Candidate } from './placement-arrange.ts'
import type { Offer } from './placement-offer.ts'
import { type Caps, type HostableModel, reach, roomOf, type Span } from './placement-sizes.ts'
import type { Range } from './routing-search.ts'

export interface PlacementInput {
  /** This node's peer id. */
  readonly self: string
  readonly caps: Caps
  /** What this node has the files of, or could get. */
  readonly hostable: readonly HostableModel[]
  /** Everybody's, of all models, those that are loading, too. This node's own are recognised, and left out. */
  readonly stages: readonly HostedStage[]
  /** By peer: who decides for itself, and what it could host, some of the model among it. Asked where a chain is missing. */
  readonly offersOf: (model: string) => ReadonlyMap<string, Offer>
  /** Sessions per minute that a model is asked for, those included that wait for it. */
  readonly demand: (model: string) => number
  /** What this node holds or loads. */
  readonly current?: Span | undefined
  /** From 0 to 1: which of the spans that are about as useful. */
  readonly draw?: number
  /** Who had its turn and did not take it: not to be counted on. */
  readonly passive?: ReadonlySet<string>
}

/** Where nobody has measured anything, only proportions matter. */
const ANY_MICROSECONDS = 1_000

/** One model, as this node sees it. */
export interface View {
  readonly model: HostableModel
  readonly demand: number
  /** Of others, with this node's profile. */
  readonly stages: readonly HostedStage[]
  /** For each block, the rows per microsecond that others have for it. */
  readonly rates: Float64Array
  /** What a row takes in a block here, or where it was measured. */
  readonly blockMicroseconds: number
  /** What this node holds of it. */
  readonly own: Range | undefined
  /** For each block, others who are ready to compute it. */
  readonly ready: Float64Array
  /**
   * A chain exists, or will when what is being loaded is there. Spans of one profile that together hold every block
   * always make one: whoever holds the first block that a chain does not reach yet starts at it or before.
   */
  readonly isCovered: boolean
  /** Share of the blocks that somebody holds. */
  readonly progress: number
}

/** The most wanted first; of those that nobody wants, what is the nearest to a chain, so that nodes gather. */
export function viewsOf(input: PlacementInput): View[] {
  const byModel = Map.groupBy(input.stages, ({ stage }) => stage.model)
  return input.hostable.map((model) => viewOf(model, byModel.get(model.model) ?? [], input)).sort(byRank)
}

export function byRank(a: View, b: View): number {
  return b.demand - a.demand || b.progress - a.progress || (a.model.model < b.model.model ? -1 : 1)
}

function viewOf(
  model: HostableModel,
  stages: readonly HostedStage[],
  { self, current, demand }: PlacementInput
): View {
  const { blockCount, profile } = model
  const others = stages.filter(
    ({ peer, stage }) => peer !== self && stage.blockCount === blockCount && isEqual(stage.profile, profile)
  )
  const own = current?.model === model.model ? current : undefined
  const spans = others.map(({ stage }) => stage)
  const holders = sums(blockCount, own === undefined ? spans : [...spans, own], () => 1)
  const missing = holders.filter((count) => count === 0).length
  const usual = usualMicroseconds(spans)
  return {
    ...{ model, stages: others, own },
    demand: demand(model.model),
    ready: sums(blockCount, spans, ({ state }) => (state === undefined ? 1 : 0)),
    rates: sums(
      blockCount,
      spans,
      ({ start, end, speed }) => 1 / (speed?.decodeMicroseconds || usual * (end - start))
    ),
    blockMicroseconds: model.blockMicroseconds ?? usual,
    isCovered: missing === 0,
    progress: 1 - missing / blockCount
  }
}

/** Of a row in a block, where nobody has measured it here. */
function usualMicroseconds(spans: readonly StageInfo[]): number {
  const measured = spans.flatMap(({ start, end, speed }) =>
    speed === undefined ? [] : [speed.decodeMicroseconds / (end - start)]
  )
  if (measured.length === 0) return ANY_MICROSECONDS
  return Math.max(1, measured.reduce((sum, value) => sum + value, 0) / measured.length)
}

function isEqual(a: Profile, b: Profile): boolean {
  return (Object.keys(b) as (keyof Profile)[]).every((key) => a[key] === b[key])
}

/** What the spans over each block weigh together; in time that does not grow with their lengths. */
function sums<T extends Range>(
  blockCount: number,
  spans: readonly T[],
  weigh: (span: T) => number
): Float64Array {
  const changes = new Float64Array(blockCount + 1)
  for (const span of spans) {
    const weight = weigh(span)
    changes[span.start]! += weight
    changes[span.end]! -= weight
  }
  let sum = 0
  return changes.subarray(0, blockCount).map((change) => {
    sum += change
    return sum
  })
}

/** Whether each block of the range has at least `count`. */
export function have(counts: Float64Array, { start, end }: Range, count: number): boolean {
  return counts.subarray(start, end).every((value) => value >= count)
}

/** Everybody who holds some of the model or could, but for those who are `taken`. */
export function candidatesFor(
  view: View,
  views: readonly View[],
  input: PlacementInput,
  taken: ReadonlySet<string>
): Candidate[] {
  const { self, caps, current, passive } = input
  const { model } = view
  const offers = input.offersOf(model.model)
  const byPeer = Map.groupBy(input.stages, ({ peer }) => peer)
  const isFree = (peer: string): boolean => !taken.has(peer) && passive?.has(peer) !== true
  const holders = view.stages.map(({ peer, stage }): Candidate => {
    const room = offers.get(peer)?.get(model.model)
    const held = { start: stage.start, end: stage.end }
    // Whoever hosts several spans was told to, and stays.
    const ends =
      room === undefined || byPeer.get(peer)?.length !== 1 || !isFree(peer) ? undefined : reach(model, room)
    return { peer, held, ends, size: room?.memoryBytes ?? 0, isBusy: true }
  })
  const mayGoTo = (peer: string, span: Span): boolean =>
    views.some(
      (other) =>
        other.model.model === span.model && other !== view && isDispensable(other, span, view, peer === self)
    )
  const others: Candidate[] = []
  for (const [peer, offer] of offers) {
    const room = offer.get(model.model)
    const hosted = byPeer.get(peer) ?? []
    if (room === undefined || peer === self || !isFree(peer) || hosted.length > 1) continue
    const [one] = hosted
    if (one !== undefined && !mayGoTo(peer, one.stage)) continue
    others.push({ peer, ends: reach(model, room), size: room.memoryBytes, isBusy: one !== undefined })
  }
  const isOwn = current === undefined || view.own !== undefined || mayGoTo(self, current)
  const room = roomOf(model, caps)
  const isBusy = current !== undefined
  const own = { peer: self, held: view.own, ends: reach(model, room), size: room.memoryBytes, isBusy }
  return [...holders, ...others, ...(isOwn ? [own] : [])]
}

/** Whether whoever holds a span of another model may leave it to complete a chain of `wanted`. */
function isDispensable(other: View, span: Range, wanted: View, isOwn: boolean): boolean {
  if (!other.isCovered) return byRank(wanted, other) < 0
  if (wanted.demand === 0) return false
  return other.demand === 0 || have(other.ready, span, isOwn ? 1 : 2)
}
