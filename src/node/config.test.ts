import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { changeSetting, readSettings, type Setting } from './config.ts'

const SEED = 20_261_121

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-config-'))
  path = join(folder, 'deep', 'config.toml')
})

afterEach(() => rm(folder, { recursive: true }))

const FILE = `# mine
store = "/big/models"   # the large disk

[up]
memory = "8GiB"
model = ["a", "b"]

[run]
temperature = 0.7
`

async function write(text: string): Promise<void> {
  path = join(folder, 'config.toml')
  await writeFile(path, text)
}

test('tables are part of the keys, and no file is no settings', async () => {
  expect(await readSettings(path)).toEqual(new Map())
  await write(FILE)
  expect([...(await readSettings(path))]).toEqual([
    ['store', '/big/models'],
    ['up.memory', '8GiB'],
    ['up.model', ['a', 'b']],
    ['run.temperature', 0.7]
  ])
})

test('a change leaves the rest as it was written', async () => {
  await write(FILE)
  await changeSetting(path, 'up.memory', '4GiB')
  await changeSetting(path, 'run.temperature', undefined)
  await changeSetting(path, 'run.seed', 7)
  await changeSetting(path, 'offline', true)
  const wanted = FILE.replace('8GiB', '4GiB').replace('temperature = 0.7', 'seed = 7')
  expect(await readFile(path, 'utf8')).toBe(`offline = true\n${wanted}`)
})

test.each([
  ['store = ', /is not TOML/],
  ['since = 2026-11-21', /since must be text/],
  ['[up.deep.er]\na = 1', /up\.deep must be/],
  ['Store = "x"', /Store is no name/],
  [`# ${'x'.repeat(70_000)}`, /longer than/]
])('%.20s is refused', async (text, says) => {
  await write(text)
  await expect(readSettings(path)).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(says)
  })
})

test.each(['up = { memory = "1GiB" }\n', 'up.memory = "1GiB"\n', '[up]\nmemory = """\n1GiB"""\n'])(
  'what it cannot change is left alone: %j',
  async (text) => {
    await write(text)
    await expect(changeSetting(path, 'up.memory', '2GiB')).rejects.toMatchObject({ code: 'CONFIG' })
    expect(await readFile(path, 'utf8')).toBe(text)
  }
)

test('whatever is set can be read, and taken out again', async () => {
  const key = fc.constantFrom('store', 'up.memory', 'up.model', 'run.seed', 'run.system')
  const scalar = fc.oneof(fc.string({ maxLength: 20, unit: 'grapheme' }), fc.integer(), fc.boolean())
  const value: fc.Arbitrary<Setting> = fc.oneof(
    scalar,
    fc.array(fc.string({ maxLength: 9 }), { maxLength: 3 })
  )
  const changes = fc.array(fc.tuple(key, fc.option(value, { nil: undefined })), { maxLength: 12 })
  const property = fc.asyncProperty(changes, async (all) => {
    await write('')
    const wanted = new Map<string, Setting>()
    for (const [each, its] of all) {
      await changeSetting(path, each, its)
      if (its === undefined) wanted.delete(each)
      else wanted.set(each, its)
    }
    expect(await readSettings(path)).toEqual(wanted)
  })
  await fc.assert(property, { seed: SEED, numRuns: 60 })
})
