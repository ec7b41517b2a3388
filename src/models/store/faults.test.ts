// What the store says and does when a machine, a disk or a file fails it.
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { ShoalError } from '../../common/index.ts'
import type { PartName } from '../content.ts'
import { type Manifest, makeProvisionalManifest } from '../manifest.ts'
import { openModel } from '../model-file.ts'
import { GgufPieces } from './gguf-pieces.ts'
import { Store } from './store.ts'
import { allParts, changeByte, DEMO, fill, openPieces, temporaryFolder } from './testing.ts'

const PARTS: ReadonlySet<PartName> = new Set(['block-2', 'block-3'])

/** A store that is closed, with two blocks of the demo model. */
async function closedStore(): Promise<{ folder: string; manifest: Manifest; source: GgufPieces }> {
  const { manifest, source } = await openPieces()
  const folder = await temporaryFolder()
  const store = await Store.open({ folder })
  await store.add(manifest)
  await fill(await store.get(manifest.id), source, PARTS)
  await store.close()
  return { folder, manifest, source }
}

function changeRecord(folder: string, sql: string): void {
  const database = new DatabaseSync(join(folder, 'store.db'))
  database.exec(sql)
  database.close()
}

test.each(['manifest with hashes', 'provisional manifest'])(
  'after the machine itself went down, what was being written is checked: %s',
  async (kind) => {
    const file = await openModel(DEMO)
    onTestFinished(() => file.close())
    const manifest = kind.startsWith('p') ? await makeProvisionalManifest(file.gguf) : file.manifest
    const folder = await temporaryFolder()
    const store = await Store.open({ folder })
    await store.add(manifest)
    const model = await store.get(manifest.id)
    await fill(model, new GgufPieces(file, manifest), PARTS)
    const [first, second] = [...PARTS].map((part) => model.layout.parts.get(part)?.firstPiece) as [
      number,
      number
    ]
    await store.close()
    // As if block-2 was being written, and a page of each had not reached the disk.
    for (const block of [2, 3]) {
      await changeByte(join(folder, 'models', manifest.id, `block-${block}.gguf`), 4096 + 100)
    }
    changeRecord(folder, `UPDATE parts SET boot = 'an earlier one' WHERE part = 'block-2'`)
    const again = await Store.open({ folder })
    const checked = await again.get(manifest.id)
    const lost = checked.missing(PARTS)
    if (manifest.pieces === undefined)
      expect(lost).toEqual(model.layout.table.of(itemsOf(model.manifest, 'block-2')))
    else expect(lost).toEqual([first])
    expect(checked.has(second)).toBe(true) // it was synced
    await fill(checked, new GgufPieces(file, manifest), PARTS)
    await again.close()
    const last = await Store.open({ folder })
    expect((await last.get(manifest.id)).missing(PARTS)).toEqual([]) // and not checked again
    await last.close()
  }
)

function itemsOf({ items }: Manifest, part: PartName): Manifest['items'] {
  return items.filter((item) => item.part === part)
}

test.each([
  ['overwritten', (folder: string) => writeFile(join(folder, 'store.db'), 'something else '.repeat(400))],
  ['removed', (folder: string) => rm(join(folder, 'store.db'))],
  ['emptied', (folder: string) => changeRecord(folder, 'DELETE FROM parts; VACUUM')],
  ['changed', (folder: string) => changeRecord(folder, 'DROP TABLE parts; CREATE TABLE parts (x)')]
])('a record that was %s is made anew, and no piece is lost', async (_, damage) => {
  const { folder, manifest } = await closedStore()
  await damage(folder)
  const store = await Store.open({ folder })
  const model = await store.get(manifest.id)
  expect(model.missing(PARTS)).toEqual([])
  expect((await store.list())[0]?.blocks).toEqual([2, 3])
  await store.close()
})

test('a damaged record stays where it is while others use it', async () => {
  const { folder } = await closedStore()
  const other = await Store.open({ folder })
  await writeFile(join(folder, 'store.db'), 'something else '.repeat(400))
  await rm(join(folder, 'store.db-wal'), { force: true })
  await expect(Store.open({ folder })).rejects.toMatchObject({
    code: 'DAMAGED',
    message: /Stop all Shoal processes/
  })
  await other.close().catch(() => {})
  expect(await readdir(folder)).not.toContainEqual(expect.stringContaining('damaged'))
})

test('a folder of a newer version is left alone', async () => {
  const { folder } = await closedStore()
  changeRecord(folder, 'PRAGMA user_version = 99')
  const before = await readFile(join(folder, 'store.db'))
  await expect(Store.open({ folder })).rejects.toMatchObject({ code: 'NEWER', message: /newer version/ })
  expect((await readFile(join(folder, 'store.db'))).equals(before)).toBe(true)
})

test.each(['/proc/shoal/store', '/sys/shoal', '/dev/null/store'])('%s is refused', async (folder) => {
  await expect(Store.open({ folder })).rejects.toMatchObject({ code: 'DISK' })
})

test.skipIf(process.getuid?.() === 0)('a folder without permission is refused', async () => {
  const folder = join(await temporaryFolder(), 'store')
  await mkdir(folder, { mode: 0o500 })
  await expect(Store.open({ folder })).rejects.toMatchObject({ code: 'DISK', message: /this user/ })
})

test.skipIf(!existsSync('/dev/full'))('a full disk is said, and what is there stays', async () => {
  const { folder, manifest, source } = await closedStore()
  const store = await Store.open({ folder })
  const model = await store.get(manifest.id)
  const lease = await store.lease(manifest.id, new Set(['block-5']))
  const path = join(model.folder, 'block-5.gguf')
  await rm(path)
  await symlink('/dev/full', path)
  const writing = fill(model, source, new Set(['block-5']))
  await expect(writing).rejects.toMatchObject({ code: 'DISK', message: /full|no space/i })
  await rm(path)
  await fill(model, source, new Set(['block-5']))
  expect(model.missing(new Set([...PARTS, 'block-5']))).toEqual([])
  lease.release()
  await store.close()
})

test('a damaged manifest is said, and mended by adding the model again', async () => {
  const { folder, manifest } = await closedStore()
  await changeByte(join(folder, 'models', manifest.id, 'manifest'), 50)
  const store = await Store.open({ folder })
  await expect(store.get(manifest.id)).rejects.toMatchObject({ code: 'MANIFEST' })
  expect(await store.list()).toEqual([])
  await store.add(manifest)
  expect((await store.get(manifest.id)).missing(PARTS)).toEqual([])
  await store.close()
})

test('whatever is changed in its files, it works or says why not', { timeout: 120_000 }, async () => {
  const { folder, manifest, source } = await closedStore()
  const [record, block] = [join(folder, 'store.db'), join(folder, 'models', manifest.id, 'block-2.gguf')]
  const good = new Map(
    await Promise.all([record, block].map(async (path) => [path, await readFile(path)] as const))
  )
  const change = fc.record({
    file: fc.constantFrom(record, block),
    changes: fc.array(fc.tuple(fc.nat(40_000), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 30
    }),
    length: fc.option(fc.nat(60_000), { freq: 3 })
  })
  let opened = 0
  const property = fc.asyncProperty(change, async ({ file, changes, length }) => {
    for (const [path, bytes] of good) {
      const changed = bytes.slice()
      if (path === file)
        for (const [at, mask] of changes)
          changed[at % bytes.length] = (bytes[at % bytes.length] as number) ^ mask
      await writeFile(path, changed.subarray(0, path === file ? (length ?? bytes.length) : bytes.length))
    }
    let store: Store | undefined
    try {
      store = await Store.open({ folder })
      await store.verify(manifest.id)
      const model = await store.get(manifest.id)
      await fill(model, source, PARTS)
      for (const index of model.layout.table.of(itemsOf(model.manifest, 'block-2'))) await model.read(index)
      opened++
    } catch (error) {
      expect(error).toBeInstanceOf(ShoalError)
    } finally {
      await store?.close().catch((error) => expect(error).toBeInstanceOf(ShoalError))
    }
  })
  await fc.assert(property, { seed: 11, numRuns: 150 })
  expect(opened).toBeGreaterThan(100)
  await rm(record)
  const store = await Store.open({ folder })
  await fill(await store.get(manifest.id), source, allParts(manifest))
  expect((await store.verify(manifest.id)).bad).toEqual([])
  await store.close()
})
