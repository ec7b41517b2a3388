/** Answers of models by any name that there is: those of files, catalogue and hub become ids that the swarm knows. */
import type { Answers } from '../chat/index.ts'
import type { FetchOptions, Node } from '../node/index.ts'
import { findModel } from './consumer.ts'

export type Asked = Pick<Answers, 'answer' | 'model' | 'models'>

export interface ByNameInit {
  /** Longest wait for a chain. */
  readonly waitMs: number
  readonly onProgress: FetchOptions['onProgress']
  /** Nobody hosts some of it yet: said once for each reason. */
  readonly onMissing: (message: string) => void
  readonly signal: AbortSignal
}

/** `model` waits until there is a chain. */
export function byName(node: Node, answers: Asked, init: ByNameInit): Asked {
  const { waitMs, onProgress, onMissing, signal } = init
  const ids = new Map<string, string>()
  const idOf = async (name: string): Promise<string> => {
    const id = ids.get(name) ?? (await findModel(node, name, { signal, onProgress })).id
    ids.set(name, id)
    return id
  }
  return {
    models: () => answers.models(),
    model: async (name) => {
      const model = await idOf(name)
      await node.start({ signal })
      const said = new Set<string>()
      const missing = ({ message }: Error): void => {
        if (!said.has(message)) onMissing(message)
        said.add(message)
      }
      await node.route({ model, promptTokens: 1, answerTokens: 1, waitMs, signal, onMissing: missing })
      return answers.model(model)
    },
    async *answer(request, options) {
      yield* answers.answer({ ...request, model: await idOf(request.model) }, options)
    }
  }
}
