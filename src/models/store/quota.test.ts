// What is dropped when room is needed, and what never is.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ManualClock } from '../../swarm/testing-clock.ts'
import type { PartName } from '../content.ts'
import type { Manifest } from '../manifest.ts'
import { Layout } from './layout.ts'
import { Store } from './store.ts'
import { fill, openPieces, temporaryFolder } from './testing.ts'

const MINUTE = 60_000

function bytesOf(manifest: Manifest, ...parts: PartName[]): number {
  const layout = new Layout(manifest)
  return parts.reduce((sum, part) => sum + (layout.parts.get(part)?.byteLength ?? 0), 0)
}

/** A store with room for three of the demo model's blocks, all the same size. */
async function smallStore(): Promise<{
  folder: string
  clock: ManualClock
  manifest: Manifest
  store: Store
  quota: number
  put: (...blocks: number[]) => Promise<void>
  blocks: () => Promise<readonly number[] | undefined>
}> {
  const { manifest, source } = await openPieces()
  const [folder, clock] = [await temporaryFolder(), new ManualClock()]
  const quota = bytesOf(manifest, 'block-0', 'block-1', 'block-2')
  const store = await Store.open({ folder, quota }, { clock })
  onTestFinished(() => store.close())
  await store.add(manifest)
  const model = await store.get(manifest.id)
  const put = async (...blocks: number[]): Promise<void> => {
    for (const block of blocks) {
      await clock.advance(MINUTE)
      await fill(model, source, new Set([`block-${block}`] as const))
    }
  }
  return { folder, clock, manifest, store, quota, put, blocks: async () => (await store.list())[0]?.blocks }
}

test('another quota counts from the next part on', async () => {
  const { store, quota, put, blocks } = await smallStore()
  await put(0, 1, 2)
  store.quota = (quota / 3) * 4
  await put(3)
  expect(await blocks()).toEqual([0, 1, 2, 3])
  store.quota = (quota / 3) * 2
  expect(await blocks()).toEqual([0, 1, 2, 3])
  await put(4)
  expect(await blocks()).toEqual([3, 4])
  store.quota = undefined
  await put(0, 1, 2)
  expect(await blocks()).toEqual([0, 1, 2, 3, 4])
})

test('what was used longest ago makes room', async () => {
  const { store, manifest, clock, put, blocks } = await smallStore()
  await put(0, 1, 2)
  expect(await blocks()).toEqual([0, 1, 2])
  await put(3)
  expect(await blocks()).toEqual([1, 2, 3])
  await clock.advance(2 * MINUTE)
  const model = await store.get(manifest.id)
  await model.read(model.layout.parts.get('block-1')?.firstPiece as number)
  await put(4)
  expect(await blocks()).toEqual([1, 3, 4])
  expect(existsSync(join(model.folder, 'block-2.gguf'))).toBe(false)
  expect((await store.verify(manifest.id)).bad).toEqual([])
})

test('what is in use stays, by whomever', async () => {
  const { folder, store, manifest, clock, quota, put, blocks } = await smallStore()
  await put(0, 1, 2)
  const other = await Store.open({ folder, quota }, { clock })
  const lease = await other.lease(manifest.id, new Set(['block-0']))
  const own = await store.span(manifest.id, { start: 1, end: 2 })
  await put(3, 4, 5)
  expect(await blocks()).toEqual([0, 1, 5])
  const both = store.lease(manifest.id, new Set(['block-6', 'block-7']))
  await expect(both).rejects.toMatchObject({ code: 'QUOTA', message: /raise the quota/ })
  expect(await blocks()).toEqual([0, 1, 5]) // nothing was dropped in vain
  lease.release()
  own.release()
  await put(6, 7)
  expect(await blocks()).toEqual([5, 6, 7])
  await other.close()
})

test('what is half written stays for a while', async () => {
  const { folder, store, manifest, clock, quota, put, blocks } = await smallStore()
  const other = await Store.open({ folder, quota }, { clock })
  const { source } = await openPieces()
  const model = await other.get(manifest.id)
  const [first = 0] = model.missing(new Set(['block-0']))
  await source.fetch([first], (piece) => void model.write(piece), new AbortController().signal)
  await put(1, 2)
  const lease = await store.lease(manifest.id, new Set(['block-1', 'block-2']))
  await clock.advance(MINUTE) // longer than whoever writes pauses
  await put(3)
  expect(model.has(first)).toBe(true) // until it looks
  expect(model.missing(new Set(['block-0']))).toContain(first)
  lease.release()
  expect(await blocks()).toEqual([1, 2, 3])
  await fill(model, source, new Set(['block-0'])) // from the start again
  expect(await blocks()).toContain(0)
  await other.close()
})

test('what a dead process used may go, and what a living one uses may not', async () => {
  const { folder, store, manifest, put, blocks, quota } = await smallStore()
  await put(0, 1, 2)
  const child = await leaseElsewhere(folder, manifest.id, 'block-0', quota)
  await put(3, 4, 5)
  expect(await blocks()).toEqual([0, 4, 5])
  const others = new Set(['block-4', 'block-5', 'block-6'] as const)
  await expect(store.lease(manifest.id, others)).rejects.toMatchObject({ code: 'QUOTA' })
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  await store.lease(manifest.id, others)
  await put(6)
  expect(await blocks()).toEqual([4, 5, 6])
})

/** A process that keeps a part until it is killed. */
async function leaseElsewhere(
  folder: string,
  id: string,
  part: PartName,
  quota: number
): Promise<ChildProcess> {
  const code = `
    import { Store } from ${JSON.stringify(join(import.meta.dirname, 'store.ts'))}
    const store = await Store.open(${JSON.stringify({ folder, quota })})
    await store.lease('${id}', new Set(['${part}']))
    console.log('leased')
    setInterval(() => {}, 1_000)`
  const args = ['--input-type=module', '--eval', code]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}
