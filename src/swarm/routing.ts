import { ShoalError } from '../common/index.ts'
import type { Profile } from '../net/index.ts'
import type { HostedStage } from './discover.ts'
import { type ChainHop, type Costs, UNKNOWN_LINKS } from './routing-cost.ts'
import { cheapestPath, type Ends, type Path, promising, type Range } from './routing-search.ts'

/** Thrown when nobody hosts some of the blocks, or they don't make a chain. */
export class NoChainError extends ShoalError {
  /** The first block that no chain reaches. */
  readonly block: number

  constructor(block: number, message: string) {
    super('NO_CHAIN', message)
    this.block = block
  }
}

/**
 * The cheapest chain through a model; with nothing known of links and speeds, the one with the fewest hops. A stage is
 * entered at its first block and may be left after any; all stages of a chain have the same profile. Throws a
 * NoChainError.
 */
export function findChain(stages: readonly HostedStage[], model: string, costs = UNKNOWN_LINKS): ChainHop[] {
  const found = cheapestChain(stages, model, costs)
  if (typeof found !== 'number') return found.chain
  throw new NoChainError(found, `No chain covers the model: ${whatIsMissing(readyFor(stages, model), found)}`)
}

/** {@link findChain} and what it costs, or the first block that no chain reaches. */
export function cheapestChain(stages: readonly HostedStage[], model: string, costs: Costs): Path | number {
  let best: Path | undefined
  let reached = 0
  for (const group of groupsOf(stages, model)) {
    const found = cheapestPath(group, wholeOf(group), endsOf(costs), costs)
    if (typeof found === 'number') reached = Math.max(reached, found)
    else if (best === undefined || found.costMs < best.costMs) best = found
  }
  return best ?? reached
}

/** Those of the stages that are worth looking at, where many searches are made with nearly the same costs. */
export function shortlist(stages: readonly HostedStage[], model: string, costs: Costs): HostedStage[] {
  return groupsOf(stages, model).flatMap((group) => promising(group, endsOf(costs), costs))
}

/** What is ready, by what must be equal in a chain. */
function groupsOf(stages: readonly HostedStage[], model: string): HostedStage[][] {
  const key = ({ stage }: HostedStage): string => `${stage.blockCount} ${profileKey(stage.profile)}`
  return [...Map.groupBy(readyFor(stages, model), key).values()]
}

function readyFor(stages: readonly HostedStage[], model: string): HostedStage[] {
  return stages.filter(({ stage }) => stage.model === model && stage.state === undefined)
}

function wholeOf(group: readonly HostedStage[]): Range {
  return { start: 0, end: (group[0] as HostedStage).stage.blockCount }
}

function endsOf({ consumer }: Costs): Ends {
  return { before: consumer, after: consumer }
}

function whatIsMissing(candidates: readonly HostedStage[], block: number): string {
  const blockCount = candidates[0]?.stage.blockCount
  const command = '"shoal up --model NAME"'
  const more = `${command} on more machines, or name more nodes with --peer.`
  if (blockCount === undefined) return `nobody reachable hosts any of its blocks. Start ${more}`
  const what = `block ${block} of ${blockCount}`
  if (candidates.some(({ stage }) => stage.start <= block && block < stage.end)) {
    return (
      `${what} is hosted with other settings (such as --kv-type) than the blocks before it. ` +
      `Start ${command} with the same ones on more machines, or name more nodes with --peer.`
    )
  }
  return `nobody reachable hosts ${what}. Start ${more}`
}

const profileKeys = new WeakMap<Profile, string>()

/** Equal where stages make a chain: the codec of its frames is the consumer's choice. */
export function profileKey(profile: Profile): string {
  const known = profileKeys.get(profile)
  if (known !== undefined) return known
  const { codec: _, ...shared } = profile
  const key = JSON.stringify(Object.entries(shared).sort())
  profileKeys.set(profile, key)
  return key
}

/**
 * The cheapest of `stages`, all of one model and profile, that together compute `range` of it, if there are any; with
 * nothing known of links and speeds, the fewest.
 */
export function findCover(
  stages: readonly HostedStage[],
  range: Range,
  costs = UNKNOWN_LINKS,
  ends = endsOf(costs)
): ChainHop[] | undefined {
  const ready = stages.filter(({ stage }) => stage.state === undefined)
  const path = cheapestPath(ready, range, ends, costs)
  return typeof path === 'number' ? undefined : path.chain
}
