/** What is in the store, by the names that people know it by. */
import { ShoalError } from '../common/index.ts'
import { hubNameText, type Listing, type ModelSummary, resolveName, similar } from '../models/index.ts'
import type { Library } from './library.ts'

/** Digits that tell models apart, and that somebody may type. */
const SHORT_ID = 12
const LEAST_ID = 6

export interface StoredEntry extends ModelSummary {
  /** What people call it: as it was named here, else as it is listed, else as its file says. */
  readonly called: string
  /** All of the above. */
  readonly names: readonly string[]
  readonly listing: Listing | undefined
}

/** Those used last first. */
export async function storedModels(library: Library): Promise<StoredEntry[]> {
  const [store, named] = [await library.store, await library.names.byId()]
  const models = await store.list()
  const entries = await Promise.all(
    models.map(async (summary) => {
      const listing = await library.listing(summary.id)
      const said = [...(named.get(summary.id) ?? []), listing?.name ?? summary.name, summary.name]
      const names = [...new Set(said)]
      return { ...summary, called: names[0] as string, names, listing }
    })
  )
  return entries.sort((a, b) => (b.lastUsed ?? 0) - (a.lastUsed ?? 0) || (a.id < b.id ? -1 : 1))
}

/** By one of its names, or the first digits of its id. Throws a ShoalError MODEL where none is meant, or several. */
export async function storedModel(library: Library, text: string): Promise<StoredEntry> {
  const entries = await storedModels(library)
  const meant = new Set([text.trim(), canonical(text)])
  const byId = new RegExp(`^[0-9a-f]{${LEAST_ID},64}$`, 'i').test(text.trim())
  const found = entries.filter(
    ({ id, names }) =>
      names.some((name) => meant.has(name)) || (byId && id.startsWith(text.trim().toLowerCase()))
  )
  const [only, ...others] = found
  if (only !== undefined && others.length === 0) return only
  const shown = text.slice(0, 200)
  if (only !== undefined) {
    const ids = found.map(({ id }) => id.slice(0, SHORT_ID)).join(', ')
    throw new ShoalError('MODEL', `"${shown}" may be any of these models, name one: ${ids}.`)
  }
  const names = similar(
    text.trim(),
    entries.flatMap((entry) => entry.names)
  )
  const hint =
    names.length === 0
      ? '"shoal list" says what is.'
      : `Did you mean ${names.join(' or ').replace(/\p{C}/gu, '?')}?`
  throw new ShoalError('MODEL', `"${shown}" is not in the store. ${hint}`)
}

/** As models are named in full; the text itself where it is no such name. */
function canonical(text: string): string {
  try {
    const name = resolveName(text)
    if (name.kind === 'catalogue') return name.name
    return name.kind === 'hub' ? hubNameText(name.hub) : text.trim()
  } catch {
    return text.trim()
  }
}
