/** The models that people ask for by name: models/catalogue.json, checked once. */
import { z } from 'zod'
import file from '../../../models/catalogue.json' with { type: 'json' }
import { ShoalError } from '../../common/index.ts'
import { parseHubName } from './hub-name.ts'

/** Of a conversation of some length: what memory needs are given for, if nothing else is said. */
const USUAL_POSITIONS = 4_096
/** The engine's own: graphs, scratch buffers, its libraries. */
const ENGINE_BYTES = 256 * 1024 * 1024

const count = z.int().min(1)
const word = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,31}$/)
const repository = z.string().refine((name) => {
  try {
    return parseHubName(`hf:${name}`).repository === name
  } catch {
    return false
  }
}, 'is no repository')

const sizeSchema = z
  .strictObject({
    /** On the hub; its files' names say which quantization they are. */
    repository: repository.optional(),
    /** Embedded: in the folder of the catalogue. */
    file: z
      .string()
      .regex(/^[\w.-]+\.gguf$/)
      .optional(),
    architecture: z.string().min(1).max(64),
    /** Whether Shoal can cut it into blocks. */
    splits: z.boolean(),
    /** Equal for those whose token ids mean the same. */
    tokenizer: word,
    /** SPDX, or the family's own. */
    licence: z.string().min(1).max(64),
    parameters: count,
    blocks: count,
    /** In positions. */
    context: count,
    /** KV cache of one position in all blocks, in bytes, as f16. */
    positionBytes: count,
    /** `name:tag` of a small model that writes ahead. */
    draft: z.string().optional(),
    /** What its hidden states may travel in: certified with its first quantization. */
    codecs: z.array(word).optional(),
    /** Bytes by quantization, to three digits; the first is the default. */
    quants: z
      .record(z.string().regex(/^[A-Z0-9_]+$/), count)
      .refine((all) => Object.keys(all).length > 0, 'is empty')
  })
  .refine((size) => (size.repository === undefined) !== (size.file === undefined), {
    message: 'has either a repository or a file'
  })

const catalogueSchema = z.strictObject({
  version: z.literal(1),
  models: z.record(
    word,
    z
      .strictObject({
        family: z.string().min(1).max(64),
        /** A size. */
        default: word,
        sizes: z.record(word, sizeSchema)
      })
      .refine((model) => Object.hasOwn(model.sizes, model.default), { message: 'has no such default' })
  )
})

export type Catalogue = z.infer<typeof catalogueSchema>
export type CatalogueSize = z.infer<typeof sizeSchema>

/** Throws a ShoalError CATALOGUE for anything that is none. */
export function readCatalogue(value: unknown): Catalogue {
  const parsed = catalogueSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new ShoalError('CATALOGUE', `This is no catalogue: ${issue?.path.join('.')} ${issue?.message}.`)
}

let embedded: Catalogue | undefined

/** The one that comes with Shoal. */
export function catalogue(): Catalogue {
  embedded ??= readCatalogue(file)
  return embedded
}

/** What a whole model takes, roughly, in bytes: its weights, the KV cache of so many positions, the engine. */
export function memoryNeeded(
  { quants, positionBytes }: CatalogueSize,
  quant: string,
  positions = USUAL_POSITIONS
): number {
  return (quants[quant] ?? 0) + positionBytes * positions + ENGINE_BYTES
}
