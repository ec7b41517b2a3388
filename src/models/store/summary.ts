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
  /** Those that are all there, in order. */
  readonly blocks: readonly number[]
  /** Milliseconds since 1970; undefined where nothing of it is there. */
  readonly lastUsed: number | undefined
}

export function summaryOf(model: ModelOnDisk, rows: readonly PartRow[]): ModelSummary {
  const { manifest, layout } = model
  const { id, architecture, blockCount, metadata } = manifest
  const name = metadata.get('general.name')?.value
  const totals = { bytes: 0, bytesThere: 0 }
  for (let index = 0; index < layout.table.count; index++) {
    const { byteLength } = layout.table.at(index)
    totals.bytes += byteLength
    if (model.has(index)) totals.bytesThere += byteLength
  }
  const blocks = Array.from({ length: blockCount }, (_, block) => block).filter((block) => {
    const part: PartName = `block-${block}`
    return layout.parts.has(part) && model.missing(new Set([part])).length === 0
  })
  const lastUsed = rows.length === 0 ? undefined : Math.max(...rows.map(({ used }) => used))
  return {
    ...{ id, architecture, blockCount, blocks, lastUsed, ...totals },
    isHashed: manifest.pieces !== undefined,
    name: typeof name === 'string' ? name : id.slice(0, 12)
  }
}
