/** What models are called here: by what they were found under, and those that come with Shoal by their own names. */
import { catalogue } from '../models/index.ts'
import type { Library } from './library.ts'

/** By id, the best first; asks for all names anew each time. */
export function namesIn(
  library: Pick<Library, 'find' | 'names'>
): () => Promise<ReadonlyMap<string, readonly string[]>> {
  let embedded: Promise<readonly (readonly [id: string, name: string])[]> | undefined
  return async () => {
    embedded ??= embeddedNames(library)
    const names = new Map(await library.names.byId())
    for (const [id, name] of await embedded) names.set(id, [name, ...(names.get(id) ?? [])])
    return names
  }
}

function embeddedNames(library: Pick<Library, 'find'>) {
  const names = Object.entries(catalogue().models).flatMap(([name, { sizes, default: standard }]) =>
    sizes[standard]?.file === undefined ? [] : [name]
  )
  return Promise.all(names.map(async (name) => [(await library.find(name)).id, name] as const))
}
