/**
 * The cheapest path over stages. A stage is entered at its first block and may be left after any, so a path
 * is a row of stages, each beginning within the one before, and stages in the order of their first blocks need to be
 * looked at once. Only what the slowest stage adds to a prompt is no sum: each stage keeps all the ways to it that may
 * still turn out the cheapest (multi-criteria shortest paths, Martins 1984), usually one or two.
 */
import type { HostedStage } from './discover.ts'
import type { Place } from './latency.ts'
import { type ChainHop, type Costs, type Price, priceOf, roundsOf } from './routing-cost.ts'

/**
 * Holders of a block that are looked at. With 2,000 stages a search takes 2 ms instead of 40, and what it finds was
 * measured to cost at most 2.3 % more.
 */
const MAX_HOLDERS = 64

/** Blocks `[start, end)`. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** Who sends to the first hop, and gets what the last one gives. */
export interface Ends {
  readonly before: Place
  readonly after: Place
}

export interface Path {
  readonly chain: ChainHop[]
  /** As `costOf` says. */
  readonly costMs: number
}

interface Node extends Price {
  readonly hop: HostedStage
  readonly start: number
  readonly end: number
  /** It is loaded to draw and gives no hidden states: it can't be left early. */
  readonly head: boolean
  readonly ways: Way[]
}

/** A way to a stage: what all before it costs, links included. */
interface Way {
  readonly sum: number
  /** Of the slowest stage. */
  readonly peak: number
  readonly node: Node
  readonly before: Way | undefined
}

/** The cheapest path through `range`, or the first block that no path reaches. */
export function cheapestPath(
  stages: readonly HostedStage[],
  range: Range,
  ends: Ends,
  costs: Costs
): Path | number {
  const within = stages.filter(
    ({ stage: { start, end, head, blockCount } }) =>
      start >= range.start && start < range.end && head === (end === blockCount)
  )
  const nodes = promising(within, ends, costs)
    .map((hop): Node => {
      const { start, end, head } = hop.stage
      return { hop, start, end, head, ways: [], ...priceOf(hop, costs) }
    })
    .sort((a, b) => a.start - b.start)
  const linkWeight = roundsOf(costs) / 2
  const enter = costs.rttFrom(ends.before)
  for (const node of nodes) {
    if (node.start > range.start) break
    offer(node, linkWeight * enter(node.hop), 0, undefined)
  }
  let reached = range.start
  let best: { way: Way; costMs: number } | undefined
  for (const [index, node] of nodes.entries()) {
    if (node.ways.length === 0) continue
    const rttTo = costs.rttFrom(node.hop)
    if (node.head ? node.end === range.end : node.end >= range.end) {
      const leave = leaveAt(node, range.end)
      const link = linkWeight * rttTo(ends.after)
      for (const way of node.ways) {
        const costMs = way.sum + leave.sum + link + Math.max(way.peak, leave.peak)
        if (best === undefined || costMs < best.costMs) best = { way, costMs }
      }
    }
    if (node.head) continue
    reached = Math.max(reached, node.end)
    goOn(node, nodes, index + 1, (hop) => linkWeight * rttTo(hop))
  }
  return best === undefined ? reached : { chain: chainOf(best.way, range.end), costMs: best.costMs }
}

/**
 * The best holders of each block by what they cost per block, as if a chain were theirs alone. If there was a path,
 * there is one still, since what covers the same blocks makes one, too.
 */
export function promising(stages: readonly HostedStage[], ends: Ends, costs: Costs): readonly HostedStage[] {
  if (stages.length <= MAX_HOLDERS) return stages
  const [rttBefore, rttAfter] = [costs.rttFrom(ends.before), costs.rttFrom(ends.after)]
  const ranked = stages.map((hop) => {
    const { fixed, perBlock, peakPerBlock } = priceOf(hop, costs)
    const links = (roundsOf(costs) * (rttBefore(hop) + rttAfter(hop))) / 2
    return { hop, score: (links + fixed) / (hop.stage.end - hop.stage.start) + perBlock + peakPerBlock }
  })
  const holders: number[] = []
  const isNeeded = ({ hop }: { hop: HostedStage }): boolean => {
    const { start, end } = hop.stage
    let least = MAX_HOLDERS
    for (let block = start; block < end; block++) least = Math.min(least, holders[block] ?? 0)
    if (least === MAX_HOLDERS) return false
    for (let block = start; block < end; block++) holders[block] = (holders[block] ?? 0) + 1
    return true
  }
  return ranked
    .sort((a, b) => a.score - b.score)
    .filter(isNeeded)
    .map(({ hop }) => hop)
}

/** From a node to all that may follow it: in `nodes` from index `next`. */
function goOn(node: Node, nodes: readonly Node[], next: number, link: (hop: HostedStage) => number): void {
  let leave = leaveAt(node, node.start)
  for (let index = next; index < nodes.length; index++) {
    const other = nodes[index] as Node
    if (other.start > node.end) return
    if (other.start === node.start) continue
    if (other.start !== leave.block) leave = leaveAt(node, other.start)
    const sum = leave.sum + link(other.hop)
    for (const way of node.ways) offer(other, way.sum + sum, Math.max(way.peak, leave.peak), way)
  }
}

/** What a stage costs that is left before `block`. */
function leaveAt(node: Node, block: number): { block: number; sum: number; peak: number } {
  const blocks = block - node.start
  return { block, sum: node.fixed + node.perBlock * blocks, peak: node.peakPerBlock * blocks }
}

/**
 * One way is as good as another, whatever follows, when its sum is not larger and neither is its sum with its peak:
 * a peak that is larger counts only as far as it is.
 */
function offer(node: Node, sum: number, peak: number, before: Way | undefined): void {
  const { ways } = node
  for (const way of ways) if (way.sum <= sum && way.sum + way.peak <= sum + peak) return
  let kept = 0
  for (const way of ways) if (way.sum < sum || way.sum + way.peak < sum + peak) ways[kept++] = way
  ways.length = kept
  ways.push({ sum, peak, node, before })
}

/** Each hop computes up to where the next begins. */
function chainOf(last: Way, rangeEnd: number): ChainHop[] {
  const chain: ChainHop[] = []
  let end = rangeEnd
  for (let way: Way | undefined = last; way !== undefined; way = way.before) {
    const { hop, start } = way.node
    chain.unshift({ ...hop, start, end })
    end = start
  }
  return chain
}
