/** docs/study/activations.md: what hidden states cost on the wire. */
import { type CodecName, megabitsFor, nodesNeeded, prefillRowsPerSecond, rowBytes } from './arithmetic.ts'
import { digits, type Sections, table } from './documents.ts'
import { MACHINES, type MachineName, MODELS } from './inputs.ts'
import { measured } from './results.ts'

const CODECS: readonly CodecName[] = ['f32', 'f16', 'q8']
const MEGABITS = [10, 20, 50, 100]
const PROMPT = 1_000

export const activations: Sections = {
  'activations-bytes': () => {
    const widths = [...new Set(MODELS.map(({ width }) => width))].sort((a, b) => a - b)
    return table(
      ['width', ...CODECS],
      widths.map((width) => [
        digits(width, 5),
        ...CODECS.map((codec) => digits(Math.round(rowBytes(width, codec)), 6))
      ])
    )
  },
  'activations-prefill': () =>
    table(
      ['model', ...MEGABITS.map((megabits) => `${megabits} Mbit/s`)],
      MODELS.map(({ name, width }) => [
        name,
        ...MEGABITS.map((megabits) =>
          CODECS.map((codec) => digits((8 * PROMPT * rowBytes(width, codec)) / (megabits * 1e6))).join(' / ')
        )
      ])
    ),
  'activations-bound': () =>
    table(
      ['model', 'machines', 'rows per second of a stage', ...CODECS.map((codec) => `${codec}, Mbit/s`)],
      MODELS.flatMap((model) =>
        (['small', 'card'] satisfies MachineName[]).flatMap((name) => {
          const machine = MACHINES[name]
          const nodes = nodesNeeded(model, machine)
          if (nodes === undefined || nodes === 1) return [] // nothing is sent on
          const rows = prefillRowsPerSecond(model, machine, nodes)
          const cells = CODECS.map((codec) => digits(megabitsFor(rows, model.width, codec)))
          return [[model.name, `${nodes} × ${machine.name}`, digits(rows), ...cells]]
        })
      )
    ),
  'activations-codecs': () => measured('codecs'),
  'activations-wan': () => measured('wan', /^R1[23]/)
}
