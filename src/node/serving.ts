/** What a node serves over HTTP: answers over chains of its swarm, itself included. */
import { type Answers, createAnswers } from '../chat/index.ts'
import { systemClock } from '../common/index.ts'
import { openSession } from '../session/index.ts'
import type { Node } from './node.ts'
import type { ModelStatus } from './status.ts'

/** To be started and stopped by whoever asks for it, within the node's own life. */
export function answersOf(node: Node): Answers {
  const { library } = node
  return createAnswers({
    models: {
      known: () => node.models.map((model) => ({ ...model, context: contextOf(model, node) })),
      names: () => node.names(),
      vocabulary: async (id, signal) => library.vocabulary(await library.find(id, { signal }), { signal })
    },
    chains: {
      route: (request) => node.route(request),
      open: async (init) => {
        const { host, relays, swarm: directory } = node
        const [first] = init.chain
        const codec = await node.codecs.codecFor(init.chain)
        const drafter = first && node.drafts.drafterFor(first.stage.model, init.sampler)
        return openSession({ host, relays, directory }, { ...init, codec, ...(drafter && { drafter }) })
      },
      lost: (peer) => void node.swarm.report(peer).catch(() => {}) // it may be known already
    },
    clock: systemClock,
    random: Math.random
  })
}

/** Positions that a chain may have: each block's best stage, the worst of them. Undefined: there is no chain. */
function contextOf({ model, blockCount, covered }: ModelStatus, node: Node): number | undefined {
  if (!covered) return undefined
  const contexts = new Array<number>(blockCount).fill(0)
  for (const { stage } of node.swarm.stagesOf(model)) {
    const { start, end, context } = stage
    for (let block = start; block < end; block++) contexts[block] = Math.max(contexts[block] ?? 0, context)
  }
  return Math.min(...contexts) || undefined
}
