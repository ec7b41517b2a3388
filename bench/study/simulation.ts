/** docs/SIMULATION.md: what grows with a swarm, as last simulated. */
import type { Figure } from '../bench.ts'
import { chart, digits, type Sections, table } from './documents.ts'
import { type Result, resultsOf } from './results.ts'

const MEASURES = {
  coverage: 'requests whose model is covered',
  served: 'requests that got a chain',
  moves: 'moves per node and hour',
  messages: 'messages per node and second',
  traffic: 'kB/s per node, both ways',
  routing: 'routing, ms',
  routing_cpu: 'of which computing, ms',
  mended: 'lost hops that were replaced'
} as const

type Measure = keyof typeof MEASURES

/** Those that have a curve, and how it is called. */
const CURVES: readonly (readonly [Measure, string])[] = [
  ['coverage', 'Requests whose model is covered'],
  ['moves', 'Moves per node and hour'],
  ['messages', 'Messages per node and second'],
  ['routing', 'Milliseconds until a chain is found, median']
]

export const simulation: Sections = {
  'simulation-table': () => {
    const run = lastRun()
    if (run === undefined) return '**Not simulated yet**: `npm run bench -- sim`.'
    const rows = (Object.keys(MEASURES) as Measure[]).map((measure) => [
      MEASURES[measure],
      ...run.sizes.map((nodes) => cell(measure, run.figures[`${measure}_${nodes}`]))
    ])
    const noted = (pattern: RegExp): string[] =>
      run.sizes.map((nodes) => pattern.exec(run.figures[`coverage_${nodes}`]?.note ?? '')?.[1] ?? '-')
    rows.unshift(
      ['memory, in copies of all models', ...noted(/for ([\d.]+) copies/)],
      ['models covered', ...noted(/([\d.]+ %) of models/)]
    )
    const { growth } = run.figures
    return [
      `Simulated: \`${run.command}\` (${run.date})`,
      table(['nodes', ...run.sizes.map((nodes) => digits(nodes, 5))], rows),
      growth === undefined
        ? ''
        : `Messages per node grow ${digits(growth.value, 3)} times (${growth.note ?? ''}).`
    ].join('\n\n')
  },
  'simulation-curves': () => {
    const run = lastRun()
    if (run === undefined || run.sizes.length < 2) return '**No curves yet**: they need two sizes of swarms.'
    return CURVES.map(([measure, title]) => {
      const points = run.sizes.flatMap((nodes) => {
        const figure = run.figures[`${measure}_${nodes}`]
        return figure === undefined ? [] : [{ nodes, value: figure.value }]
      })
      return chart({
        title,
        x: { title: 'nodes', values: points.map(({ nodes }) => digits(nodes, 5)) },
        y: { title: MEASURES[measure], ...(measure === 'coverage' ? { most: 1 } : {}) },
        lines: [points.map(({ value }) => value)]
      })
    }).join('\n\n')
  }
}

function cell(measure: Measure, figure: Figure | undefined): string {
  if (figure === undefined) return '-'
  const { value, note = '' } = figure
  const worst = /99th percentile ([\d.]+)/.exec(note)?.[1]
  const shown = ['coverage', 'served', 'mended'].includes(measure)
    ? `${digits(100 * value, 3)} %`
    : digits(value, 3)
  return worst === undefined ? shown : `${shown}, 99th percentile ${worst}`
}

/** The one of the most sizes; of several the newest. */
function lastRun(): (Result & { readonly sizes: readonly number[] }) | undefined {
  const runs = resultsOf('sim').map((result) => ({ ...result, sizes: sizesOf(result) }))
  runs.sort((a, b) => b.sizes.length - a.sizes.length || (a.date < b.date ? 1 : -1))
  return runs[0]
}

function sizesOf({ figures }: Result): number[] {
  const sizes = Object.keys(figures).flatMap((name) => /^coverage_(\d+)$/.exec(name)?.[1] ?? [])
  return sizes.map(Number).sort((a, b) => a - b)
}
