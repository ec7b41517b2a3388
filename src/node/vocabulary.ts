/** What is needed to talk to a model that others compute: its vocabulary, in a file that llama.cpp reads. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile } from '../common/index.ts'
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
  if (there?.size !== header.byteLength) await replaceFile(path, header)
  return { gguf, files: [path] }
}
