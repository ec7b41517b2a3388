/** `shoal config`: what is set, and where. */
import { Command } from 'commander'
import { changeSetting, configFile, places, type Setting } from '../node/index.ts'
import { note } from './output.ts'
import {
  findSetting,
  type Known,
  knownSettings,
  loadSettings,
  optionValue,
  settingFrom,
  settingsPath,
  unknownKey
} from './settings.ts'
import { table } from './units.ts'

interface ConfigOptions {
  readonly config?: string
  readonly dataDir: string
  readonly json?: boolean
}

interface Listed {
  readonly key: string
  readonly value: Setting | null
  readonly source: 'env' | 'config' | 'default'
}

export function configCommand(program: Command): Command {
  const command = new Command('config').description(
    'Settings for options that you would type again and again, in one file.'
  )
  command
    .command('list', { isDefault: true })
    .description('All settings, their values, and where those come from.')
    .action((options: ConfigOptions) => list(program, options))
  command
    .command('get')
    .description('The value of one setting.')
    .argument('<key>', 'such as up.memory')
    .action((key: string, options: ConfigOptions) => get(program, key, options))
  command
    .command('set')
    .description('Write a setting into the file.')
    .argument('<key>', 'such as up.memory')
    .argument('<value>', 'as on the command line; several with commas between, true or false for switches')
    .action((key: string, value: string, options: ConfigOptions) => set(program, key, value, options))
  command
    .command('unset')
    .description('Take a setting out of the file.')
    .argument('<key>', 'such as up.memory')
    .action((key: string, options: ConfigOptions) => set(program, key, undefined, options))
  command
    .command('path')
    .description('The path of the file, which need not be there.')
    .action(({ config, json }: ConfigOptions) => print(settingsPath(config) ?? '', json))
  command
    .command('paths')
    .description('All places where Shoal keeps something.')
    .action(({ dataDir, json }: ConfigOptions) => {
      const all = places(dataDir)
      if (json) console.log(JSON.stringify(all))
      else for (const line of table(Object.entries(all))) console.log(line)
    })
  return command
}

function print(value: Setting | null, json: boolean | undefined): void {
  if (json) console.log(JSON.stringify(value))
  else if (value !== null) console.log(Array.isArray(value) ? value.join(',') : String(value))
}

async function listed(program: Command, { config }: ConfigOptions): Promise<Listed[]> {
  const path = settingsPath(config)
  const settings = await loadSettings(program, path)
  return [...knownSettings(program).values()].map((known) => {
    const found = findSetting(known, settings, path ?? '')
    if (found === undefined) return { key: known.key, value: defaultOf(known), source: 'default' }
    optionValue(known.option, found)
    return { key: known.key, value: found.setting, source: found.source }
  })
}

function defaultOf({ option: { defaultValue, defaultValueDescription, required } }: Known): Setting | null {
  return defaultValueDescription ?? defaultValue ?? (required ? null : false)
}

async function list(program: Command, options: ConfigOptions): Promise<void> {
  const all = await listed(program, options)
  if (options.json) return console.log(JSON.stringify(all))
  const rows = all.map(({ key, value, source }) => [key, value === null ? '' : String(value), source])
  for (const line of table([['KEY', 'VALUE', 'FROM'], ...rows])) console.log(line)
}

async function get(program: Command, key: string, options: ConfigOptions): Promise<void> {
  const all = await listed(program, options)
  const found = all.find((each) => each.key === key)
  if (found === undefined)
    throw unknownKey(
      key,
      all.map((each) => each.key)
    )
  print(found.value, options.json)
}

async function set(
  program: Command,
  key: string,
  text: string | undefined,
  { config, json }: ConfigOptions
): Promise<void> {
  const known = knownSettings(program)
  const meant = known.get(key)
  // What is wrong in the file can be taken out of it.
  if (meant === undefined && text !== undefined) throw unknownKey(key, known.keys())
  const path = config ?? process.env.SHOAL_CONFIG ?? configFile()
  const setting = text === undefined || meant === undefined ? undefined : settingFrom(meant.option, text)
  if (meant !== undefined && setting !== undefined) optionValue(meant.option, { setting, where: key })
  await changeSetting(path, key, setting)
  if (json) console.log(JSON.stringify({ key, value: setting ?? null, path }))
  else note(`${key} is ${setting === undefined ? 'out of' : 'set in'} ${path}`)
}
