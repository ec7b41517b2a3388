/** `/v1/models` with all that the swarm knows of them, covered or not. */
import * as z from 'zod/mini'
import { call } from './http.ts'

const modelSchema = z.object({
  /** What to ask for. */
  name: z.string(),
  aliases: z.array(z.string()),
  blockCount: z.number(),
  /** Positions that a conversation may have. */
  context: z.optional(z.number()),
  isCovered: z.boolean(),
  /** Blocks that nobody hosts, as [start, end). */
  missing: z.array(z.tuple([z.number(), z.number()])),
  nodes: z.number(),
  licence: z.optional(z.string())
})
export type Model = z.infer<typeof modelSchema>

const listSchema = z.object({ data: z.array(z.object({ shoal: modelSchema })) })

/** Covered ones first, then by name. Throws an ApiError, or where it answers something else. */
export async function fetchModels(signal?: AbortSignal): Promise<readonly Model[]> {
  const headers = { 'x-shoal-details': '1' }
  const { data } = listSchema.parse(await call('/v1/models', { headers, ...(signal && { signal }) }))
  return data
    .map(({ shoal }) => shoal)
    .sort((a, b) => Number(b.isCovered) - Number(a.isCovered) || a.name.localeCompare(b.name))
}

/** Those in which each word of `query` is found, in name, alias or licence. */
export function searchModels(models: readonly Model[], query: string): readonly Model[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  const textOf = ({ name, aliases, licence }: Model): string =>
    [name, ...aliases, licence ?? ''].join(' ').toLowerCase()
  return models.filter((model) => words.every((word) => textOf(model).includes(word)))
}
