// What is left of a store when a process is killed at some moment, and when two write at once.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { Store } from './store.ts'
import { allParts, DEMO, fill, openPieces, temporaryFolder } from './testing.ts'

const CHILD = join(import.meta.dirname, 'crash-child.ts')
const KILLS = 20

function startWriter(folder: string, seed: number): { child: ChildProcess; lines: AsyncIterable<string> } {
  const args = [CHILD, folder, DEMO, String(seed)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  return { child, lines: createInterface({ input: child.stdout as NodeJS.ReadableStream }) }
}

/** Pieces that it said were written. Killed when it says `last`, or that many; or else it ends by itself. */
async function written(folder: string, seed: number, last?: string | number): Promise<Set<number>> {
  const { child, lines } = startWriter(folder, seed)
  const exited = once(child, 'exit')
  const pieces = new Set<number>()
  for await (const line of lines) {
    if (/^\d+$/.test(line)) pieces.add(Number(line))
    if (line === last || pieces.size === last) child.kill('SIGKILL')
  }
  const [code] = await exited
  if (last === undefined) expect(code).toBe(0)
  return pieces
}

test('killed at any moment, it goes on where it was', { timeout: 120_000 }, async () => {
  const folder = await temporaryFolder()
  const { manifest, source } = await openPieces()
  const all = allParts(manifest)
  const total = manifest.pieces?.count ?? 0
  let there = new Set<number>()
  let midway = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const last = ['opening', 'writing', 1 + ((kill * 7) % 23), 1 + ((kill * 5) % 23)][kill % 4]
    there = there.union(await written(folder, kill, last))
    const store = await Store.open({ folder })
    await store.add(manifest)
    const model = await store.get(manifest.id)
    const missing = new Set(model.missing(all))
    expect(there.intersection(missing)).toEqual(new Set()) // what was written is there
    expect((await store.verify(manifest.id)).bad).toEqual([])
    expect(model.missing(all).length).toBeGreaterThanOrEqual(missing.size - 3) // lost: what was in flight
    if (missing.size > 0 && missing.size < total) midway++
    if (missing.size === 0) {
      await store.remove(manifest.id) // and from the start again
      there = new Set()
    }
    await store.close()
  }
  expect(midway).toBeGreaterThan(KILLS / 2)
  const store = await Store.open({ folder })
  await store.add(manifest)
  const model = await store.get(manifest.id)
  await fill(model, source, all)
  expect(model.missing(all)).toEqual([])
  expect((await store.verify(manifest.id)).bad).toEqual([])
  await store.close()
})

test('two processes write the same model at once', async () => {
  const folder = await temporaryFolder()
  const { manifest } = await openPieces()
  const store = await Store.open({ folder })
  await store.add(manifest)
  const model = await store.get(manifest.id)
  const told = new Set<number>()
  model.onPiece((index) => told.add(index))
  await Promise.all([written(folder, 1), written(folder, 2)])
  expect(model.missing(allParts(manifest))).toEqual([])
  expect(told.size).toBe(manifest.pieces?.count)
  expect((await store.verify(manifest.id)).bad).toEqual([])
  await store.close()
})
