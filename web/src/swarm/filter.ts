/** What of the swarm is looked at: all of it is in the address. */
import type { SwarmModel, SwarmNode } from '../api/swarm.ts'

/** A model by its id or name; the empty text means all. */
export function modelsFor(models: readonly SwarmModel[], wanted: string): readonly SwarmModel[] {
  if (wanted === '') return models
  return models.filter(({ id, name }) => id === wanted || name === wanted)
}

/** Those that host some of these models where one is wanted, and whose peer id or models' names have the text. */
export function nodesFor(
  nodes: readonly SwarmNode[],
  wanted: ReadonlySet<string> | undefined,
  text: string,
  nameOf: (model: string) => string
): readonly SwarmNode[] {
  const part = text.trim().toLowerCase()
  return nodes.filter(({ peer, spans }) => {
    if (wanted !== undefined && !spans.some(({ model }) => wanted.has(model))) return false
    if (part === '') return true
    return (
      peer.toLowerCase().includes(part) ||
      spans.some(({ model }) => nameOf(model).toLowerCase().includes(part))
    )
  })
}
