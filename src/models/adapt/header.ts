import { type GgufModel, readGguf } from '../../gguf/index.ts'
import { openParts } from '../model-file.ts'

/** A model's files and header; the tensors are not read, and the model gets no id. */
export async function readHeader(path: string): Promise<{ files: readonly string[]; gguf: GgufModel }> {
  const { files, sources } = await openParts(path)
  try {
    return { files, gguf: await readGguf(sources) }
  } finally {
    await Promise.all(sources.map((source) => source.close()))
  }
}
