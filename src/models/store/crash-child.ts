// Writes a model's pieces into a store again and again, until it is killed: `node crash-child.ts FOLDER PATH SEED`.
import type { PieceReceived } from '../contract.ts'
import { openModel } from '../model-file.ts'
import { GgufPieces } from './gguf-pieces.ts'
import { Store } from './store.ts'

const [folder, path, seed] = process.argv.slice(2) as [string, string, string]
const model = await openModel(path)
console.log('opening')
const store = await Store.open({ folder })
await store.add(model.manifest)
const stored = await store.get(model.id)
const parts = new Set(model.manifest.items.map(({ part }) => part))
const pieces: PieceReceived[] = []
const indices = stored.missing(parts)
await new GgufPieces(model).fetch(indices, (piece) => pieces.push(piece), new AbortController().signal)
console.log('writing')

/** Another order for each: two that write the same model meet in the middle. */
let state = Number(seed)
function random(below: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
  return (state >>> 8) % below
}

async function writeSome(): Promise<void> {
  while (pieces.length > 0) {
    const [piece] = pieces.splice(random(pieces.length), 1)
    await stored.write(piece as PieceReceived)
    console.log(piece?.index)
  }
}
await Promise.all([writeSome(), writeSome(), writeSome()])
await store.close()
console.log('done')
