/** What is needed to talk to a model that others compute: its vocabulary, in a file that llama.cpp reads. */
import { randomUUID } from 'node:crypto'
import { open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type GgufModel, planGguf } from '../gguf/index.ts'
import { type ModelOnDisk, modelOf } from '../models/index.ts'

export interface Vocabulary {
  readonly gguf: GgufModel
  readonly files: readonly string[]
}

/** Its tokenizer has to be in the store. The file has no tensors; it lies beside the model's parts. */
export async function writeVocabulary(model: ModelOnDisk): Promise<Vocabulary> {
  const { manifest, folder } = model
  const bytes = manifest.items[0]?.byteLength ?? 0
  const read = model.readContent.bind(model)
  const gguf = await modelOf(manifest, read, await read(0, bytes))
  const { header } = planGguf({ metadata: gguf.metadata, tensors: [] })
  const path = join(folder, 'vocabulary.gguf')
  const there = await stat(path).catch(() => undefined)
  if (there?.size !== header.byteLength) await writeWhole(path, header)
  return { gguf, files: [path] }
}

/** By its final name it is whole and on disk, whoever else writes it, too. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.${randomUUID()}`
  try {
    const file = await open(partial, 'w')
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}
