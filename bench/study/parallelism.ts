/** docs/study/parallelism.md: pipeline against tensor parallelism. */
import {
  allReduces,
  computeMs,
  pipelineLinkMs,
  rowBytes,
  tensorLinkMs,
  tensorPaysBelowMs
} from './arithmetic.ts'
import { digits, type Sections, table } from './documents.ts'
import { LINKS, MACHINES, MODELS } from './inputs.ts'
import { measured } from './results.ts'

const NODES = 4

export const parallelism: Sections = {
  'parallelism-links': () =>
    table(
      ['model', 'all-reduces', ...LINKS.map(({ name }) => name)],
      MODELS.map((model) => [
        ...[model.name, String(allReduces(model))],
        ...LINKS.map((link) =>
          [
            pipelineLinkMs(model, NODES, link),
            tensorLinkMs(model, NODES, link, 'direct'),
            tensorLinkMs(model, NODES, link, 'star')
          ]
            .map((ms) => digits(ms))
            .join(' / ')
        )
      ])
    ),
  'parallelism-bytes': () =>
    table(
      ['model', 'pipeline, kB', 'tensor, kB', 'times'],
      MODELS.map((model) => {
        const hop = rowBytes(model.width, 'f32')
        const all = allReduces(model) * (NODES - 1) * hop
        return [model.name, digits(hop / 1000), digits(all / 1000, 3), digits(all / hop, 3)]
      })
    ),
  'parallelism-break': () =>
    table(
      [
        'model',
        'desktops: computing, ms',
        'pays below, ms',
        'graphics cards: computing, ms',
        'pays below, ms'
      ],
      MODELS.map((model) => [
        model.name,
        ...[MACHINES.desktop, MACHINES.card].flatMap((machine) => [
          digits(computeMs(model, machine)),
          digits(tensorPaysBelowMs(model, machine, NODES))
        ])
      ])
    ),
  'parallelism-measured': () => measured('collective')
}
