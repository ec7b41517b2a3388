/** docs/study/latency.md: what a token waits for, and how that is hidden. */
import { computeMs, nodesNeeded, ringMs, streamedGain, windowGain, windowTokens } from './arithmetic.ts'
import { chart, digits, type Sections, table } from './documents.ts'
import { HOP_MS, LINKS, MACHINES, modelNamed } from './inputs.ts'
import { measured } from './results.ts'

const CHANCES = [0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98]
const CURVE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
const WINDOWS = [2, 4, 8, 16]
/** A chain of the chart: three nodes at `world`, a step of 30 ms in all, and what a row more costs. */
const RING_MS = 240
const ROW_MS = [2, 10, 40]

export const latency: Sections = {
  'latency-ring': () => {
    const [model, machine] = [modelNamed('llama3.3:70b'), MACHINES.card]
    const nodes = nodesNeeded(model, machine) ?? 0
    const stepMs = computeMs(model, machine) / nodes + HOP_MS
    return table(
      [
        'links',
        'ring, ms',
        'step, ms',
        'sessions that fill it',
        'twice as many',
        'tokens per second of one',
        'of all'
      ],
      LINKS.map((link) => {
        const ring = ringMs(model, machine, nodes, link)
        const fill = ring / stepMs
        const cells = [ring, stepMs, fill, Math.ceil(2 * fill), 1000 / ring, 1000 / stepMs]
        return [link.name, ...cells.map((value) => digits(value))]
      })
    )
  },
  'latency-tokens': () =>
    table(
      ['a guess is right', ...WINDOWS.map((rows) => `one window of ${rows}`), 'windows in flight'],
      CHANCES.map((a) => [
        `${digits(100 * a)} %`,
        ...WINDOWS.map((rows) => digits(windowTokens(a, rows), 3)),
        digits(1 / (1 - a), 3)
      ])
    ),
  'latency-curve': () =>
    chart({
      title: 'Tokens per ring (from below: one window of 4 rows, of 16, windows in flight)',
      x: { title: 'chance that a guess is right', values: CURVE },
      y: { title: 'tokens per ring' },
      lines: [4, 16, Number.POSITIVE_INFINITY].map((rows) => CURVE.map((a) => windowTokens(a, rows)))
    }),
  'latency-gain': () =>
    table(
      [
        'a guess is right',
        ...ROW_MS.map((ms) => `${ms} ms per row: one window of 8`),
        ...ROW_MS.map((ms) => `${ms} ms: in flight`)
      ],
      CHANCES.map((a) => [
        `${digits(100 * a)} %`,
        ...ROW_MS.map((ms) => digits(windowGain(a, 8, RING_MS, ms), 3)),
        ...ROW_MS.map((ms) => digits(streamedGain(a, RING_MS, ms), 3))
      ])
    ),
  'latency-speculation': () => measured('speculation'),
  'latency-wan': () => measured('wan', /^(?!R1[23])/),
  'latency-batching': () => measured('batching', /^(throughput|fairness|whole|chain)$/)
}
