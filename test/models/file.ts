import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { GgufPlan } from '../../src/gguf/plan.ts'
import { writeGguf } from '../../src/gguf/write.ts'

/** Writes a planned model as `NAME.gguf` into a folder; resolves to its path. */
export async function writeModelFile(folder: string, name: string, plan: GgufPlan): Promise<string> {
  const path = join(folder, `${name}.gguf`)
  const file = await open(path, 'w')
  try {
    await writeGguf({ write: (bytes) => file.writeFile(bytes) }, plan)
  } finally {
    await file.close()
  }
  return path
}
