/** docs/study/sizes.md: which models at which swarm sizes. */
import { computeMs, nodesNeeded, ringMs } from './arithmetic.ts'
import { chart, digits, type Sections, table } from './documents.ts'
import { LINKS, type Link, MACHINES, type MachineName, MODELS, modelNamed, POSITIONS } from './inputs.ts'

const NAMES = Object.keys(MACHINES) as MachineName[]
const GB = 1e9
/** Shares of machines in the simulation's swarm. */
const MIX: Readonly<Record<MachineName, number>> = {
  ...{ laptop: 0.3, small: 0.33, desktop: 0.17, card: 0.14, cards: 0.06 }
}
const SWARMS = [10, 30, 100, 1_000]
/** Tokens per second: a page of text takes two minutes. */
const USABLE = 5
/** Round trips of the curve. */
const ROUND_TRIPS = [0, 25, 50, 75, 100, 125, 150, 175, 200]

export const sizes: Sections = {
  'sizes-inputs': () =>
    table(
      [
        'machine',
        'gives',
        'reads weights at',
        'a row of a prompt ÷ a decoded one',
        'share of the mixed swarm'
      ],
      NAMES.map((name) => {
        const { memoryBytes, bytesPerMs, prefillShare, name: called } = MACHINES[name]
        return [
          ...[called, `${digits(memoryBytes / GB)} GB`, `${digits((bytesPerMs * 1000) / GB, 3)} GB/s`],
          ...[String(prefillShare), `${digits(100 * MIX[name])} %`]
        ]
      })
    ),
  'sizes-models': () =>
    table(
      [
        'model',
        'blocks',
        'width',
        'file, GB',
        'a block, MB',
        `cache of ${digits(POSITIONS, 4)} positions, GB`,
        'a token reads, GB'
      ],
      MODELS.map((model) => {
        const { name, quant, blockCount, width, fileBytes, blockBytes, positionBytes, readBytes } = model
        return [
          ...[`${name} ${quant}`, String(blockCount), digits(width, 5), digits(fileBytes / GB, 3)],
          ...[digits((blockBytes[0] as number) / 1e6, 3), digits((positionBytes * POSITIONS) / GB)],
          digits(readBytes / GB, 3)
        ]
      })
    ),
  'sizes-nodes': () =>
    table(
      ['model', ...NAMES.map((name) => MACHINES[name].name)],
      MODELS.map((model) => [
        model.name,
        ...NAMES.map((name) => String(nodesNeeded(model, MACHINES[name]) ?? 'a block does not fit'))
      ])
    ),
  'sizes-copies': () => {
    const mean = NAMES.reduce((sum, name) => sum + MIX[name] * MACHINES[name].memoryBytes, 0)
    return table(
      ['model', 'needs, GB', ...SWARMS.map((nodes) => `${digits(nodes, 4)} nodes`)],
      MODELS.map((model) => {
        const needed = model.fileBytes + model.positionBytes * POSITIONS
        return [
          ...[model.name, digits(needed / GB, 3)],
          ...SWARMS.map((nodes) => digits((nodes * mean) / needed))
        ]
      })
    )
  },
  'sizes-speed-small': () => speeds('small'),
  'sizes-speed-card': () => speeds('card'),
  'sizes-curve': () => {
    const model = modelNamed('llama3.3:70b')
    const at = (name: MachineName): number[] =>
      ROUND_TRIPS.map((rttMs) => {
        const link: Link = { name: '', rttMs, bitsPerSecond: 100e6 }
        const machine = MACHINES[name]
        return 1000 / ringMs(model, machine, nodesNeeded(model, machine) ?? 0, link)
      })
    return chart({
      title: 'llama3.3:70b, tokens per second (three graphics cards above, desktops below)',
      x: { title: 'round trip, ms', values: ROUND_TRIPS },
      y: { title: 'tokens per second' },
      lines: [at('card'), at('desktop')]
    })
  }
}

function speeds(name: MachineName): string {
  const machine = MACHINES[name]
  return table(
    ['model', 'nodes', 'computing, ms', ...LINKS.map((link) => link.name)],
    MODELS.map((model) => {
      const nodes = nodesNeeded(model, machine)
      if (nodes === undefined) return [model.name, '-', '-', ...LINKS.map(() => '-')]
      const cells = LINKS.map((link) => usable(1000 / ringMs(model, machine, nodes, link)))
      return [model.name, String(nodes), digits(computeMs(model, machine)), ...cells]
    })
  )
}

/** Marked where it is. */
function usable(tokensPerSecond: number): string {
  return tokensPerSecond >= USABLE ? `**${digits(tokensPerSecond)}**` : digits(tokensPerSecond)
}
