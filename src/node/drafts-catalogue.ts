/** What the catalogue says of drafts, for models by the names that they have here. */
import { type CatalogueSize, catalogue, resolveName } from '../models/index.ts'

/** `name:tag` of a small model that may write ahead for the one of these names. */
export function catalogueDraft(names: readonly string[]): string | undefined {
  return names.map((name) => sizeOf(name)?.draft).find((draft) => draft !== undefined)
}

/** Whether it comes with Shoal. */
export function isEmbedded(entry: string): boolean {
  return sizeOf(entry)?.file !== undefined
}

/** Whether one of these names means the catalogue's entry `entry`, in any quantization. */
export function isCalled(names: readonly string[], entry: string): boolean {
  const size = sizeOf(entry)
  return size !== undefined && names.some((name) => sizeOf(name) === size)
}

/** The same repository is the same model, however it was named. */
function sizeOf(text: string): CatalogueSize | undefined {
  const name = resolved(text)
  if (name?.kind === 'catalogue') return name.size
  if (name?.kind !== 'hub') return undefined
  const { repository } = name.hub
  const sizes = Object.values(catalogue().models).flatMap((model) => Object.values(model.sizes))
  return sizes.find((size) => size.repository === repository)
}

function resolved(text: string) {
  try {
    return resolveName(text)
  } catch {
    return undefined // a listing's, or one of an older catalogue
  }
}
