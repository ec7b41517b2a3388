import { ShoalError } from '../common/index.ts'
import type { Profile } from '../net/index.ts'
import type { HostedStage } from './discover.ts'

/** One hop of a chain: it computes blocks `[start, end)`, where `end` may be before the end of its span. */
export interface ChainHop extends HostedStage {
  readonly start: number
  readonly end: number
}

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
 * The chain with the fewest hops through `[0, blockCount)`. A stage is entered at its first block and may be left
 * after any; all stages of a chain have the same profile. Throws a NoChainError.
 */
export function findChain(stages: readonly HostedStage[], model: string): ChainHop[] {
  const candidates = stages.filter(({ stage }) => stage.model === model)
  const profiles = new Map(candidates.map(({ stage }) => [profileKey(stage.profile), stage.profile]))
  let farthest = 0
  for (const key of profiles.keys()) {
    const result = fewestHops(candidates.filter(({ stage }) => profileKey(stage.profile) === key))
    if (Array.isArray(result)) return result
    farthest = Math.max(farthest, result)
  }
  const blockCount = candidates[0]?.stage.blockCount
  const missing = blockCount === undefined ? 'any of its blocks' : `block ${farthest} of ${blockCount}`
  throw new NoChainError(
    farthest,
    `No chain covers the model: nobody reachable hosts ${missing}. ` +
      `Host it with "shoal up --model FILE --blocks ${farthest}-N", or name more nodes with --peer.`
  )
}

function profileKey(profile: Profile): string {
  return JSON.stringify(Object.entries(profile).sort())
}

/** Breadth first over starts; a number is the first block that can't be reached. */
function fewestHops(stages: readonly HostedStage[]): ChainHop[] | number {
  let farthest = 0
  let paths: HostedStage[][] = stages.filter(({ stage }) => stage.start === 0).map((hop) => [hop])
  const entered = new Set([0])
  while (paths.length > 0) {
    const longer: HostedStage[][] = []
    for (const path of paths) {
      const { start, end, blockCount } = (path.at(-1) as HostedStage).stage
      if (end === blockCount) return cut(path)
      farthest = Math.max(farthest, end)
      for (const hop of stages) {
        const entry = hop.stage.start
        if (entry <= start || entry > end || entered.has(entry)) continue
        longer.push([...path, hop])
      }
    }
    for (const path of longer) entered.add((path.at(-1) as HostedStage).stage.start)
    paths = longer
  }
  return farthest
}

/** Each hop computes up to where the next begins. */
function cut(path: readonly HostedStage[]): ChainHop[] {
  return path.map((hop, index) => ({
    ...hop,
    start: hop.stage.start,
    end: path[index + 1]?.stage.start ?? hop.stage.end
  }))
}
