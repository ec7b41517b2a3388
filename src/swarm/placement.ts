/**
 * What a node should host, decided from what it knows: a pure function, so that it can be tried on any swarm.
 *
 * Chains come first: while a model has none and there is memory for one, all nodes work out the same arrangement and
 * take their parts of it. Only then are blocks hosted more than once, where a node would carry most of the demand: its
 * share of a block's capacity times what the model is asked for. Taking the better share is a game that comes to rest
 * (Rosenthal's congestion games, 1973); Petals (Borzunov et al., 2023) chooses blocks by throughput in the same way.
 */
import { arrange } from './placement-arrange.ts'
import { type HostableModel, reach, roomOf, type Span, spanBytes } from './placement-sizes.ts'
import { candidatesFor, have, type PlacementInput, type View, viewsOf } from './placement-view.ts'
import type { Range } from './routing-search.ts'

export type { PlacementInput } from './placement-view.ts'

export interface Move {
  readonly span: Span
  /** How many times more useful than what the node hosts now. */
  readonly gain: number
  /** A part of a chain that does not exist yet: the swarm waits for it. */
  readonly isUrgent: boolean
}

export interface Decision {
  /** Undefined: stay. */
  readonly move?: Move
  /** Others whose turn it is, by this node's reckoning. */
  readonly awaited: readonly string[]
  /** In plain words, what it is about to do, or why it stays. */
  readonly status: string
}

/** Loading costs time, traffic and the sessions under way: a move has to be worth it. */
const LEAST_GAIN = 1.5
/** Less than JOINT_BONUS makes of it. */
const ABOUT_AS_USEFUL = 0.96
/** What a model is taken to be asked for at least: copies are spread evenly, and leave when somebody wants something. */
const LEAST_DEMAND = 0.01
/** A span that starts where another ends makes chains with fewer hops; that counts as much more of it. */
const JOINT_BONUS = 1.05

export function decide(input: PlacementInput): Decision {
  const views = viewsOf(input)
  return completeChain(views, input) ?? copyMostUseful(views, input)
}

/** Undefined: no chain is to be made, or this node has no part in it. */
function completeChain(views: readonly View[], input: PlacementInput): Decision | undefined {
  const { self, current } = input
  const taken = new Set<string>()
  const incomplete: { view: View; gap: Range; target: Range | undefined }[] = []
  for (const view of views) {
    if (view.isCovered) continue
    const candidates = candidatesFor(view, views, input, taken)
    const { gaps, targets } = arrange(view.model.blockCount, candidates)
    const target = targets.get(self)
    if (gaps[0] !== undefined) {
      incomplete.push({ view, gap: gaps[0], target })
      continue
    }
    if (target !== undefined) return urgent(view, target, 'which completes a chain')
    for (const peer of targets.keys()) taken.add(peer)
    if (view.own !== undefined || current === undefined) {
      const status = `waiting for ${nodes(targets.size)} to load what ${view.model.name} lacks`
      return { awaited: [...targets.keys()], status }
    }
  }
  // What can't be completed yet is worth less than what serves as many people now.
  const served = Math.max(-1, ...views.filter(({ isCovered }) => isCovered).map(({ demand }) => demand))
  for (const { view, gap, target } of incomplete) {
    if (view.demand <= served) continue
    if (current === undefined && target !== undefined) return urgent(view, target, 'which nobody hosts')
    if (current === undefined || view.own !== undefined)
      return { awaited: [], status: lack(view, gap, input) }
  }
  return undefined
}

function urgent({ model }: View, range: Range, why: string): Decision {
  const span = spanOf(model, range)
  return {
    move: { span, gain: Number.POSITIVE_INFINITY, isUrgent: true },
    awaited: [],
    status: `about to load ${inWords(span, model)}, ${why}`
  }
}

/** Where this node would carry most. */
function copyMostUseful(views: readonly View[], input: PlacementInput): Decision {
  const { current } = input
  const at = views.find(({ own }) => own !== undefined)
  const covered = views.filter(({ isCovered }) => isCovered)
  const best = oneOfBest(
    covered.flatMap((view) => optionsOf(view, input)),
    input.draw
  )
  const stay = (status: string): Decision => ({ awaited: [], status })
  if (best === undefined) return stay(nothingFits(views, input))
  const { span, view } = best
  if (current === undefined || at === undefined) {
    if (current !== undefined) return stay('hosting what it was told to')
    const move = { span, gain: Number.POSITIVE_INFINITY, isUrgent: false }
    return { move, awaited: [], status: `about to load ${inWords(span, view.model)}, one more copy` }
  }
  const here = inWords(current, at.model)
  const worth = at.isCovered ? worthOf(at, current) : 0
  const gain = best.worth / worth
  if (gain < LEAST_GAIN) return stay(`hosting ${here}: nothing else would be ${LEAST_GAIN} times as useful`)
  const isWanted = at.isCovered && (at.demand > 0 || view.demand === 0)
  if (isWanted && !have(at.ready, current, 1))
    return stay(`hosting ${here}, as nobody else hosts all of them`)
  const status = `about to move from ${here} to ${inWords(span, view.model)}: ${times(gain)} as useful`
  return { move: { span, gain, isUrgent: false }, awaited: [], status }
}

interface Option {
  readonly view: View
  readonly span: Span
  readonly worth: number
}

function optionsOf(view: View, { caps }: PlacementInput): Option[] {
  const { model, stages } = view
  const joints = new Set([0, ...stages.map(({ stage }) => stage.end)])
  const ends = reach(model, roomOf(model, caps))
  return [...ends].flatMap((end, start) => {
    if (end <= start) return []
    const span = spanOf(model, { start, end })
    return [{ view, span, worth: worthOf(view, span) * (joints.has(start) ? JOINT_BONUS : 1) }]
  })
}

/** Many nodes may look at the same time: they spread over what is about as useful. */
function oneOfBest(options: readonly Option[], draw = 0): Option | undefined {
  const most = Math.max(...options.map(({ worth }) => worth))
  const best = options.filter(({ worth }) => worth >= most * ABOUT_AS_USEFUL)
  return best[Math.floor(draw * best.length)]
}

/** The part of the demand, summed over the blocks, that this node would carry beside the others. */
function worthOf({ rates, blockMicroseconds, demand }: View, { start, end }: Range): number {
  const own = 1 / (blockMicroseconds * (end - start))
  const share = rates.subarray(start, end).reduce((sum, rate) => sum + own / (own + Math.max(0, rate)), 0)
  return Math.max(LEAST_DEMAND, demand) * share
}

function spanOf({ model }: HostableModel, { start, end }: Range): Span {
  return { model, start, end }
}

function inWords({ start, end }: Range, { name }: HostableModel): string {
  return `blocks ${start}-${end} of ${name}`
}

function nodes(count: number): string {
  return count === 1 ? 'another node' : `${count} other nodes`
}

function times(gain: number): string {
  return Number.isFinite(gain) ? `${gain.toFixed(1)} times` : 'infinitely'
}

/** What a model waits for, and whether this machine could help with more memory. */
function lack({ model, own }: View, gap: Range, { caps }: PlacementInput): string {
  const both =
    own === undefined ? gap : { start: Math.min(own.start, gap.start), end: Math.max(own.end, gap.end) }
  const more = spanBytes(model, both) - caps.memoryBytes
  const help = more > 0 ? `; this machine could, with ${inUnits(more)} more` : ''
  return `waiting for ${inWords(gap, model)}: nobody hosts them${help}`
}

function nothingFits(views: readonly View[], { caps }: PlacementInput): string {
  const needs = views.map(({ model }) => {
    const least = Math.min(...model.blockBytes.map((_, start) => spanBytes(model, { start, end: start + 1 })))
    return { name: model.name, more: least - caps.memoryBytes }
  })
  const [nearest] = needs.sort((a, b) => a.more - b.more)
  if (nearest === undefined) return 'hosting nothing: there is no model on this machine'
  if (nearest.more <= 0) return 'hosting nothing: what it could host is of no use yet'
  return `hosting nothing: one block of ${nearest.name} needs ${inUnits(nearest.more)} more memory`
}

function inUnits(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.ceil(bytes / 1e6))} MB`
}
