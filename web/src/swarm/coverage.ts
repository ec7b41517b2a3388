/** What a model's coverage means, in segments and in words. */
import type { SwarmModel } from '../api/swarm.ts'
import { blocks, bytes, plural } from '../units.ts'

export interface Segment {
  /** Blocks [start, end), each with as many holders. */
  readonly start: number
  readonly end: number
  readonly holders: number
}

type Coverage = Pick<SwarmModel, 'blockCount' | 'holders' | 'missing'>

/** How many nodes host each block; where the swarm did not say, 1 stands for "at least one". */
export function holdersOf({ blockCount, holders, missing }: Coverage): readonly number[] {
  if (holders.length === blockCount) return holders
  const all = new Array<number>(blockCount).fill(1)
  for (const [start, end] of missing) all.fill(0, start, end)
  return all
}

/** Runs of blocks that have as many holders. */
export function segmentsOf(holders: readonly number[]): readonly Segment[] {
  const segments: Segment[] = []
  for (const [block, count] of holders.entries()) {
    const last = segments.at(-1)
    if (last?.holders === count) segments[segments.length - 1] = { ...last, end: block + 1 }
    else segments.push({ start: block, end: block + 1, holders: count })
  }
  return segments
}

/** `covered`: answers. `fragile`: it does, but if one node goes it may not. `broken`: some blocks, `absent`: all lack. */
export type Health = 'covered' | 'fragile' | 'broken' | 'absent'

export function healthOf(model: Coverage & Pick<SwarmModel, 'isCovered'>): Health {
  const holders = holdersOf(model)
  if (holders.every((count) => count === 0)) return 'absent'
  if (!model.isCovered || holders.includes(0)) return 'broken'
  return model.holders.length > 0 && Math.min(...holders) === 1 ? 'fragile' : 'covered'
}

const rangesOf = (segments: readonly Segment[]): string =>
  segments.map(({ start, end }) => blocks(start, end)).join(', ')

/** Who could host so many blocks: their weights, roughly, and conversations take some more. */
function nodeFor(count: number, { bytes: whole, blockCount }: SwarmModel): string {
  return whole === undefined
    ? 'a node'
    : `a node with more than ${bytes((whole * count) / blockCount)} of free memory`
}

/** What would repair or strengthen it, one sentence each; none: all is well. */
export function hintsFor(model: SwarmModel): readonly string[] {
  const segments = segmentsOf(holdersOf(model))
  const gaps = segments.filter(({ holders }) => holders === 0)
  const hints = gaps.map((gap) => {
    const isOne = gap.end - gap.start === 1
    const who = nodeFor(gap.end - gap.start, model)
    return `${isOne ? 'Block' : 'Blocks'} ${rangesOf([gap])} of ${model.name}: nobody hosts ${isOne ? 'it' : 'them'}; ${who} could.`
  })
  if (healthOf(model) !== 'fragile') return hints
  const single = rangesOf(segments.filter(({ holders }) => holders === 1))
  return [
    ...hints,
    `No second node hosts blocks ${single}: one would keep ${model.name} going when the first leaves.`
  ]
}

/** For those who can't see the bar. */
export function describe(model: SwarmModel): string {
  const said = segmentsOf(holdersOf(model)).map(
    ({ start, end, holders }) =>
      `${blocks(start, end)}: ${holders === 0 ? 'nobody' : plural(holders, 'node')}`
  )
  return `${plural(model.blockCount, 'block')} of ${model.name}. ${said.join(', ')}.`
}
