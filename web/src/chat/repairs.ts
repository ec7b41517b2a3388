import type { ChainChange, Hop } from '../api/completions.ts'

/** Whether a hop computes blocks that another one was lost with. The gateway tells of it in words, which have the blocks. */
export function tookOver(hop: Hop, changes: readonly ChainChange[]): boolean {
  const isOf = (wanted: ChainChange['change']): ChainChange[] =>
    changes.filter(({ change }) => change === wanted)
  if (!isOf('repaired').some(({ message }) => message.includes(hop.peer.slice(-8)))) return false
  return isOf('lost').some(({ message }) => {
    const [, start, end] = /blocks (\d+)-(\d+)/.exec(message) ?? []
    return Number(start) < hop.end && hop.start < Number(end)
  })
}
