/** Makes the record and the folders agree on which parts there are, without reading them. */
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Holder } from './holders.ts'
import { fileOf, partOfFile } from './layout.ts'
import type { StoreRecord } from './record.ts'

const MODEL = /^[0-9a-f]{64}$/
/** No start of any machine: it has to be verified. */
const UNKNOWN_BOOT = 'unknown'

/**
 * Files that nobody noted (the record is new, since the old one was damaged) are noted as doubtful, rows without files
 * dropped, and what dead processes left half done removed. In a transaction: then nobody is making files.
 */
export function reconcile(record: StoreRecord, holder: Holder, models: string, now: number): void {
  holder.sweep()
  for (const model of readdirSync(models)) {
    if (holder.isStray(model)) rmSync(join(models, model), { recursive: true, force: true })
    if (MODEL.test(model)) reconcileModel(record, holder, join(models, model), model, now)
  }
  for (const { model, part } of record.parts()) {
    const isPart = MODEL.test(model) && partOfFile(fileOf(part)) === part
    if (!isPart || !existsSync(join(models, model, fileOf(part)))) record.run('deletePart', model, part)
  }
}

function reconcileModel(
  record: StoreRecord,
  holder: Holder,
  folder: string,
  model: string,
  now: number
): void {
  const rows = new Map(record.parts(model).map((row) => [row.part, row]))
  for (const file of readdirSync(folder)) {
    if (holder.isStray(file)) rmSync(join(folder, file), { recursive: true, force: true })
    const part = partOfFile(file)
    if (part === undefined) continue
    const { size } = statSync(join(folder, file))
    const row = rows.get(part)
    if (row === undefined) record.run('setPart', model, part, size, now, UNKNOWN_BOOT, new Uint8Array(0))
    else if (row.bytes !== size) record.run('setPieces', row.pieces, UNKNOWN_BOOT, model, part)
  }
}

export function isModelId(name: string): boolean {
  return MODEL.test(name)
}
