/** docs/study/recipes.md: models as one would run them. */
import { nodesNeeded, ringMs, rowBytes, streamedGain, streamedRowMs } from './arithmetic.ts'
import { digits, type Sections, table } from './documents.ts'
import { LINKS, MACHINES, modelNamed, type StudiedMachine, sizeNamed } from './inputs.ts'
import { resultsOf } from './results.ts'

const RECIPES = [
  'llama3.1:8b',
  'qwen3:14b',
  'mistral-small:24b',
  'gemma3:27b',
  'qwen3:30b-a3b',
  'llama3.3:70b'
]
const RUNS: readonly StudiedMachine[] = [MACHINES.desktop, MACHINES.card]
/** Assumed, where a small model of the family guesses. */
const CHANCE = 0.7
/** Reads the draft's weights for each guess, on the machine of whoever asks. */
const ASKING: StudiedMachine = MACHINES.small
const TYPES = /^demo (\S+): divergence$/

export const recipes: Sections = {
  'recipes-models': () =>
    table(
      [
        'model',
        'weights',
        'file, GB',
        'cache of a position, kB: f16, q8_0',
        'codec: kB per row, f32, f16, q8',
        'drafts'
      ],
      RECIPES.map((name) => {
        const { listed, quant, fileBytes, positionBytes, width } = modelNamed(name)
        const bytes = (['f32', 'f16', 'q8'] as const).map((codec) => digits(rowBytes(width, codec) / 1000))
        return [
          ...[name, quant, digits(fileBytes / 1e9, 3)],
          ...[`${digits(positionBytes / 1000, 3)}, ${digits((positionBytes * 8.5) / 16 / 1000, 3)}`],
          ...[bytes.join(', '), listed.draft ?? 'n-grams only']
        ]
      })
    ),
  'recipes-speed': () =>
    table(
      ['model', 'split', ...LINKS.map(({ name }) => name)],
      RECIPES.flatMap((name) => RUNS.map((machine) => speedOf(name, machine)))
    ),
  'recipes-quality': () => {
    const run = resultsOf('quality').findLast(({ figures }) =>
      Object.keys(figures).some((name) => TYPES.test(name))
    )
    if (run === undefined) return '**Not measured yet**: `npm run bench -- quality`.'
    const rows = Object.entries(run.figures).flatMap(([name, { value, note = '' }]) => {
      const type = TYPES.exec(name)?.[1]
      if (type === undefined || type === 'F16') return []
      return [[type, digits(value), /same top ([\d.]+ %)/.exec(note)?.[1] ?? '']]
    })
    return `Measured: \`${run.command}\` (${run.date})\n\n${table(['weights', 'divergence, nats', 'same likeliest token'], rows)}`
  }
}

function speedOf(name: string, machine: StudiedMachine): string[] {
  const model = modelNamed(name)
  const nodes = nodesNeeded(model, machine)
  if (nodes === undefined) return [name, '-', ...LINKS.map(() => '-')]
  const { draft } = model.listed
  const cells = LINKS.map((link) => {
    const ring = ringMs(model, machine, nodes, link)
    const plain = digits(1000 / ring)
    if (draft === undefined) return plain
    const rowMs = Math.max(draftMs(draft), streamedRowMs(model, machine, nodes))
    return `${plain} → ${digits((1000 / ring) * Math.max(1, streamedGain(CHANCE, ring, rowMs)))}`
  })
  return [name, `${nodes} × ${machine.name}`, ...cells]
}

/** One guess. */
function draftMs(name: string): number {
  const [bytes = 0] = Object.values(sizeNamed(name).quants)
  return bytes / ASKING.bytesPerMs
}
