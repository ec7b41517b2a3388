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

function nodeWith(blockCount: number, blockBytes: number | undefined): string {
  return blockBytes === undefined ? 'a node' : `a node with ${bytes(blockCount * blockBytes)} of free memory`
}

/** What would repair or strengthen it, one sentence each; none: all is well. */
export function hintsFor(model: SwarmModel): readonly string[] {
  const segments = segmentsOf(holdersOf(model))
  const gaps = segments.filter(({ holders }) => holders === 0)
  const hints = gaps.map((gap) => {
    const isOne = gap.end - gap.start === 1
    const who = nodeWith(gap.end - gap.start, blockBytesOf(model))
    return `${isOne ? 'Block' : 'Blocks'} ${rangesOf([gap])} of ${model.name}: nobody hosts ${isOne ? 'it' : 'them'}; ${who} could.`
  })
  if (healthOf(model) !== 'fragile') return hints
  const single = rangesOf(segments.filter(({ holders }) => holders === 1))
  return [
    ...hints,
    `No second node hosts blocks ${single}: one would keep ${model.name} going when the first leaves.`
  ]
}

/** Of memory, for one block; undefined where the swarm does not say. */
function blockBytesOf(model: SwarmModel): number | undefined {
  return 'blockBytes' in model && typeof model.blockBytes === 'number' ? model.blockBytes : undefined
}

/** For those who can't see the bar. */
export function describe(model: SwarmModel): string {
  const said = segmentsOf(holdersOf(model)).map(
    ({ start, end, holders }) =>
      `${blocks(start, end)}: ${holders === 0 ? 'nobody' : plural(holders, 'node')}`
  )
  return `${plural(model.blockCount, 'block')} of ${model.name}. ${said.join(', ')}.`
}
