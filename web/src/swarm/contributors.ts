/** Who gives most, as far as nodes announce it. */
import type { SwarmNode } from '../api/swarm.ts'

export interface Contributor {
  readonly peer: string
  /** Of all models. */
  readonly blocks: number
}

export function blocksOf({ spans }: SwarmNode): number {
  return spans.reduce((sum, { start, end }) => sum + end - start, 0)
}

export function topContributors(nodes: readonly SwarmNode[], most: number): readonly Contributor[] {
  return nodes
    .map((node) => ({ peer: node.peer, blocks: blocksOf(node) }))
    .filter(({ blocks }) => blocks > 0)
    .sort((a, b) => b.blocks - a.blocks || a.peer.localeCompare(b.peer))
    .slice(0, most)
}
