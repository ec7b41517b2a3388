/** What `list` says of a model. */
import type { PartName } from '../content.ts'
import type { PartRow } from './record.ts'
import type { ModelOnDisk } from './stored-model.ts'

export interface ModelSummary {
  readonly id: string
  readonly name: string
  readonly architecture: string
  readonly blockCount: number
  /** Whether its pieces can be checked, and so be exchanged with peers. */
  readonly isHashed: boolean
  /** Of all pieces. */
  readonly bytes: number
  /** Of those that are there. */
  readonly bytesThere: number
  readonly pieces: number
  readonly piecesThere: number
  /** Of equal parts of the pieces, in order, BAR of them or as many as there are pieces: how much is there, 0 to 1. */
  readonly bar: readonly number[]
  /** Those that are all there, in order. */
  readonly blocks: readonly number[]
  /** Milliseconds since 1970; undefined where nothing of it is there. */
  readonly lastUsed: number | undefined
}

/** A bar that is wider than a page's has no use. */
const BAR = 100

export function summaryOf(model: ModelOnDisk, rows: readonly PartRow[]): ModelSummary {
  const { manifest, layout } = model
  const { id, architecture, blockCount, metadata } = manifest
  const name = metadata.get('general.name')?.value
  const pieces = layout.table.count
  const totals = { bytes: 0, bytesThere: 0, pieces, piecesThere: 0 }
  const bar = new Array<number>(Math.min(BAR, pieces)).fill(0)
  for (let index = 0; index < pieces; index++) {
    const { byteLength } = layout.table.at(index)
    totals.bytes += byteLength
    if (!model.has(index)) continue
    totals.bytesThere += byteLength
    totals.piecesThere += 1
    const part = Math.floor((index * bar.length) / pieces)
    bar[part] = (bar[part] as number) + 1
  }
  const blocks = Array.from({ length: blockCount }, (_, block) => block).filter((block) => {
    const part: PartName = `block-${block}`
    return layout.parts.has(part) && model.missing(new Set([part])).length === 0
  })
  const lastUsed = rows.length === 0 ? undefined : Math.max(...rows.map(({ used }) => used))
  return {
    ...{ id, architecture, blockCount, blocks, lastUsed, ...totals },
    bar: bar.map((there, part) => there / sizeOf(part, bar.length, pieces)),
    isHashed: manifest.pieces !== undefined,
    name: typeof name === 'string' ? name : id.slice(0, 12)
  }
}

/** Pieces in a part of the bar. */
function sizeOf(part: number, parts: number, pieces: number): number {
  return Math.ceil(((part + 1) * pieces) / parts) - Math.ceil((part * pieces) / parts)
}
