/**
 * `npm run bench -- NAME [--json] [flags of the bench]` measures, prints and keeps the result in `results/`;
 * `npm run bench -- --list` names all benches.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench, Figure } from './bench.ts'

const FOLDER = import.meta.dirname

async function load(): Promise<Map<string, Bench>> {
  const files = (await readdir(FOLDER)).filter((file) => file.endsWith('.bench.ts')).sort()
  const benches = await Promise.all(
    files.map(async (file) => ((await import(join(FOLDER, file))) as { bench: Bench }).bench)
  )
  return new Map(benches.map((bench) => [bench.name, bench]))
}

function table(figures: Readonly<Record<string, Figure>>): string {
  const rows = Object.entries(figures).map(([name, { value, target, unit, note }]) => {
    const goal = target === undefined ? '' : `target ${target}`
    return [name, `${format(value)} ${unit}`, goal, note ?? '']
  })
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()
    )
    .join('\n')
}

function format(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toPrecision(4)
}

/** A run with other flags does not overwrite the one without. */
function fileName(name: string, flags: readonly string[]): string {
  return [name, ...flags].join('-').replace(/[^\w.]+/g, '-')
}

const benches = await load()
const names = [...benches.keys()].join(', ')
const { values, positionals } = parseArgs({
  strict: false,
  allowPositionals: true,
  options: { json: { type: 'boolean' }, list: { type: 'boolean' } }
})
const bench = benches.get(positionals[0] ?? '')
if (values.list) {
  for (const { name, description } of benches.values()) console.log(`${name.padEnd(12)} ${description}`)
} else if (bench === undefined) {
  console.error(`error: name one of the benches: ${names}`)
  process.exitCode = 2
} else {
  const flags = process.argv.slice(process.argv.indexOf(bench.name) + 1).filter((flag) => flag !== '--json')
  const figures = await bench.run({
    flags,
    log: (message) => console.error(message)
  })
  const result = { name: bench.name, figures }
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`
  const machine = { cpu: cpus()[0]?.model, cores: availableParallelism(), node: process.versions.node }
  await mkdir(join(FOLDER, 'results'), { recursive: true })
  const kept = { ...result, command, date: new Date().toISOString().slice(0, 10), machine }
  await writeFile(
    join(FOLDER, 'results', `${fileName(bench.name, flags)}.json`),
    `${JSON.stringify(kept, null, 2)}\n`
  )
  console.log(values.json ? JSON.stringify(result) : table(figures))
}
