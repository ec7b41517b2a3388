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
  const groups = Map.groupBy(candidates, ({ stage }) => profileKey(stage.profile))
  const results = [...groups.values()].map((group) =>
    fewestHops(group, { start: 0, end: (group[0] as HostedStage).stage.blockCount })
  )
  const [shortest] = results.filter((result) => Array.isArray(result)).sort((a, b) => a.length - b.length)
  if (shortest !== undefined) return shortest
  const farthest = Math.max(0, ...results.filter((result) => typeof result === 'number'))
  throw new NoChainError(farthest, `No chain covers the model: ${whatIsMissing(candidates, farthest)}`)
}

function whatIsMissing(candidates: readonly HostedStage[], block: number): string {
  const blockCount = candidates[0]?.stage.blockCount
  const more = 'or name more nodes with --peer.'
  if (blockCount === undefined) {
    return `nobody reachable hosts any of its blocks. Host them with "shoal up --model FILE", ${more}`
  }
  const what = `block ${block} of ${blockCount}`
  const command = `"shoal up --model FILE --blocks ${block}-${blockCount}"`
  if (candidates.some(({ stage }) => stage.start <= block && block < stage.end)) {
    return (
      `${what} is hosted with other settings (such as --kv-type) than the blocks before it. ` +
      `Host it with the same ones, ${command}, ${more}`
    )
  }
  return `nobody reachable hosts ${what}. Host it with ${command}, ${more}`
}

export function profileKey(profile: Profile): string {
  return JSON.stringify(Object.entries(profile).sort())
}

/** A way from block 0 to a hop, last hop first. */
interface Path {
  readonly hop: HostedStage
  readonly before: Path | undefined
}

/** Blocks `[start, end)`. */
export interface Range {
  readonly start: number
  readonly end: number
}

/**
 * The fewest of `stages`, all of one model and profile, that together compute `range` of it, if there are any. A
 * stage with the head is loaded to draw and gives no hidden states: it can't be left early.
 */
export function findCover(stages: readonly HostedStage[], range: Range): ChainHop[] | undefined {
  const usable = stages.filter(({ stage }) => !stage.head || stage.end === range.end)
  const cover = fewestHops(usable, range)
  return Array.isArray(cover) ? cover : undefined
}

/** Breadth first over hops, each reached once; a number is the first block that can't be reached. */
function fewestHops(stages: readonly HostedStage[], range: Range): ChainHop[] | number {
  let farthest = range.start
  const isFirst = ({ stage }: HostedStage): boolean => stage.start === range.start
  let paths: Path[] = stages.filter(isFirst).map((hop) => ({ hop, before: undefined }))
  let left = stages.filter((hop) => !isFirst(hop))
  while (paths.length > 0) {
    const longer: Path[] = []
    for (const path of paths) {
      const { start, end } = path.hop.stage
      if (end >= range.end) return cut(path, range.end)
      farthest = Math.max(farthest, end)
      const follows = ({ stage }: HostedStage): boolean => stage.start > start && stage.start <= end
      longer.push(...left.filter(follows).map((hop) => ({ hop, before: path })))
      left = left.filter((hop) => !follows(hop))
    }
    paths = longer
  }
  return farthest
}

/** Each hop computes up to where the next begins. */
function cut(last: Path, rangeEnd: number): ChainHop[] {
  const chain: ChainHop[] = []
  let end = rangeEnd
  for (let path: Path | undefined = last; path !== undefined; path = path.before) {
    const { start } = path.hop.stage
    chain.unshift({ ...path.hop, start, end })
    end = start
  }
  return chain
}
