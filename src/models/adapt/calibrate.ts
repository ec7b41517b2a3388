import { basename } from 'node:path'
import { sumImportance } from '../../engine/index.ts'
import type { TextOptions } from './evaluate.ts'
import { readHeader } from './header.ts'
import type { ImportanceMatrix } from './importance.ts'
import { readText } from './text.ts'

/** Runs a text through a model to learn which columns of its weights matter, as llama-imatrix does. */
export async function calibrate(
  path: string,
  textPath: string,
  { signal, onProgress, ...run }: TextOptions
): Promise<ImportanceMatrix> {
  const text = await readText(textPath)
  const { files } = await readHeader(path)
  const sums = await sumImportance({ ...run, files }, text, { signal, onProgress })
  return { ...sums, datasets: [basename(textPath)], chunkLength: run.context }
}
