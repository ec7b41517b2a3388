/** What benches have measured, as it is kept in bench/results. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Figure } from '../bench.ts'
import { digits, table } from './documents.ts'

export interface Result {
  readonly name: string
  readonly figures: Readonly<Record<string, Figure>>
  readonly command: string
  readonly date: string
  readonly machine: { readonly cpu?: string; readonly cores: number }
}

const FOLDER = join(import.meta.dirname, '../results')

/** All runs of a bench, with whatever flags, in the order of their files' names. */
export function resultsOf(bench: string): Result[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'))
  const all = files.sort().map((file) => JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Result)
  return all.filter(({ name }) => name === bench)
}

/** All figures of all its runs whose names match, or that there are none. */
export function measured(bench: string, pattern = /./): string {
  const parts = resultsOf(bench).flatMap(({ figures, command, date, machine }) => {
    const rows = Object.entries(figures).filter(([name]) => pattern.test(name))
    if (rows.length === 0) return []
    const cells = rows.map(([name, { value, unit, target, note }]) => [
      ...[name, `${digits(value, 4)} ${unit}`, target ?? ''],
      (note ?? '').replaceAll('|', '\\|')
    ])
    const where = `${machine.cpu ?? 'an unnamed processor'}, ${machine.cores} cores, ${date}`
    return [`Measured: \`${command}\` (${where})\n\n${table(['figure', 'got', 'target', ''], cells)}`]
  })
  return parts.length > 0 ? parts.join('\n\n') : `**Not measured yet**: \`npm run bench -- ${bench}\`.`
}
