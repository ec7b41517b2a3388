import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { addresses, bytes, collect, integer } from './options.ts'
import { applySettings, knownSettings, optionValue, settingFrom } from './settings.ts'

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-settings-'))
  path = join(folder, 'config.toml')
})

afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true })
})

function commands(): { program: Command; up: Command } {
  const up = new Command('up')
    .option('--memory <size>', 'memory', bytes)
    .option('--context <positions>', 'positions', integer(1, 9_999), 4096)
    .option('--model <model>', 'models', collect)
    .option('--accept-plans', 'plans')
    .option('--no-http', 'no server')
    .option('--public', 'join')
    .option('--store <folder>', 'where')
    .option('--config <file>', 'settings')
    .action(() => {})
  return { program: new Command('shoal').addCommand(up), up }
}

/** What `up` gets. */
async function optionsOf(file: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { program, up } = commands()
  await writeFile(path, file)
  program.hook('preAction', (_, command) => applySettings(program, command))
  await program.parseAsync(['up', '--config', path, ...args], { from: 'user' })
  const { config, ...options } = up.opts()
  return options
}

test('the command line, then the environment, then the file, then the default', async () => {
  const file = 'store = "/file"\n[up]\ncontext = 1\nmemory = "1GB"\n'
  expect(await optionsOf('')).toEqual({ context: 4096, http: true })
  expect(await optionsOf(file)).toEqual({ context: 1, memory: 1e9, store: '/file', http: true })
  vi.stubEnv('SHOAL_UP_CONTEXT', '2')
  vi.stubEnv('SHOAL_STORE', '/env')
  expect(await optionsOf(file)).toMatchObject({ context: 2, memory: 1e9, store: '/env' })
  expect(await optionsOf(file, '--context', '3')).toMatchObject({ context: 3, memory: 1e9, store: '/env' })
})

test('lists and switches', async () => {
  const file = '[up]\nmodel = ["a", "b"]\naccept-plans = true\nno-http = true\n'
  expect(await optionsOf(file)).toMatchObject({ model: ['a', 'b'], acceptPlans: true, http: false })
  expect(await optionsOf(file, '--model', 'c')).toMatchObject({ model: ['c'] })
  vi.stubEnv('SHOAL_UP_MODEL', 'd,e')
  vi.stubEnv('SHOAL_UP_ACCEPT_PLANS', '0')
  expect(await optionsOf(file)).toMatchObject({ model: ['d', 'e'], acceptPlans: false })
})

describe('what is wrong is said with its place', () => {
  test.each([
    ['[up]\nmemroy = 1', /config\.toml: there is no setting up\.memroy. Did you mean up\.memory\?/],
    ['[up]\npublic = true', /no setting up\.public/],
    ['[up]\ncontext = 0', /config\.toml: up\.context: It must be an integer from 1/],
    ['[up]\ncontext = [1, 2]', /up\.context: It takes one value/],
    ['[up]\naccept-plans = "maybe"', /true or false/],
    ['[up]\nmemory = true', /--memory <size>/],
    ['[up', /not TOML/]
  ])('%j', async (file, says) => {
    await expect(optionsOf(file)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(says)
    })
  })

  test('in the environment', async () => {
    vi.stubEnv('SHOAL_UP_CONTEXT', 'many')
    await expect(optionsOf('')).rejects.toThrow(/^SHOAL_UP_CONTEXT: It must be an integer/)
  })

  test('a file that is not there', async () => {
    vi.stubEnv('SHOAL_CONFIG', join(folder, 'none'))
    const { program, up } = commands()
    await expect(applySettings(program, up)).rejects.toMatchObject({ code: 'USAGE' })
    vi.stubEnv('SHOAL_CONFIG', '')
    await applySettings(program, up)
  })
})

test('names follow from the options', () => {
  const keys = [...knownSettings(commands().program).values()].map(({ key, variable }) => [key, variable])
  expect(keys).toEqual([
    ['store', 'SHOAL_STORE'],
    ['up.memory', 'SHOAL_UP_MEMORY'],
    ['up.context', 'SHOAL_UP_CONTEXT'],
    ['up.model', 'SHOAL_UP_MODEL'],
    ['up.accept-plans', 'SHOAL_UP_ACCEPT_PLANS'],
    ['up.no-http', 'SHOAL_UP_NO_HTTP']
  ])
})

test.each([
  ['8GiB', '8GiB'],
  ['4096', 4096],
  ['1.50', '1.50']
])('a value %j is written as %j', (text, setting) => {
  expect(settingFrom(new Option('--x <y>', ''), text)).toBe(setting)
})

test('addresses are a list', () => {
  const option = new Option('--peer <address>').argParser(addresses)
  const setting = settingFrom(option, '/ip4/127.0.0.1/tcp/1,/ip4/127.0.0.1/tcp/2')
  expect(optionValue(option, { setting, where: 'x' })).toEqual(setting)
})
