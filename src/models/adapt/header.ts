import { ShoalError } from '../../common/index.ts'
import { GgufError, type GgufModel, readGguf } from '../../gguf/index.ts'
import { openParts } from '../model-file.ts'

/** A model's files and header; the tensors are not read, and the model gets no id. */
export async function readHeader(path: string): Promise<{ files: readonly string[]; gguf: GgufModel }> {
  const { files, sources } = await openParts(path)
  try {
    return { files, gguf: await readGguf(sources) }
  } catch (error) {
    if (!(error instanceof GgufError)) throw error
    throw new ShoalError('MODEL_FILE', `Cannot read the model ${path}: ${error.message}.`, { cause: error })
  } finally {
    await Promise.all(sources.map((source) => source.close()))
  }
}
