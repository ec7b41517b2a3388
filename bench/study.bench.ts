/**
 * Writes the tables and curves of docs/study and docs/SIMULATION.md: what is computed from stated inputs (bench/study/),
 * and what other benches have measured and kept. `npm run bench -- study [--check]`
 */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench } from './bench.ts'
import { partsOf, rewritten } from './study/documents.ts'
import { SECTIONS } from './study/sections.ts'

const DOCS = join(import.meta.dirname, '../docs')

export const bench: Bench = {
  name: 'study',
  description: 'tables and curves of docs/study and docs/SIMULATION.md, from inputs and results (--check)',
  async run({ flags, log }) {
    const { values } = parseArgs({ args: flags, options: { check: { type: 'boolean', default: false } } })
    const study = (await readdir(join(DOCS, 'study'))).filter((file) => file.endsWith('.md'))
    let [parts, changed, missing] = [0, 0, 0]
    for (const file of ['SIMULATION.md', ...study.map((name) => join('study', name))]) {
      const path = join(DOCS, file)
      const before = await readFile(path, 'utf8')
      const after = rewritten(before, SECTIONS)
      parts += partsOf(after).length
      missing += after.split(/\*\*(?:Not|No) [\w ]+ yet\*\*/).length - 1
      if (after === before) continue
      changed += 1
      log(`${file} ${values.check ? 'would change' : 'written'}`)
      if (!values.check) await writeFile(path, after)
    }
    if (values.check && changed > 0) process.exitCode = 1
    return {
      parts: { value: parts, unit: 'tables and curves' },
      missing: { value: missing, unit: 'of them not measured yet' }
    }
  }
}
