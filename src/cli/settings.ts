/**
 * Where an option's value comes from: the command line, else the environment, else the file of settings, else its
 * default. What can be set is what the commands' options are, so that nothing is said twice.
 */
import { existsSync } from 'node:fs'
import type { Command, Option } from 'commander'
import { ShoalError } from '../common/index.ts'
import { similar } from '../models/index.ts'
import { configFile, readSettings, type Setting, type Settings } from '../node/index.ts'
import { UsageError } from './lifetime.ts'

/** Commands whose options can be set, in a table of their own. */
const TABLES = ['up', 'run', 'gateway']
/** Options that mean the same wherever they are: set above the tables. */
const SHARED = ['data-dir', 'store', 'peer', 'upload', 'offline', 'verbose', 'quiet']
/** For one call each; and nobody joins strangers by a line in a file. */
const NEVER = ['config', 'json', 'help', 'public', 'schema']

export interface Known {
  /** `store`, `up.memory`. */
  readonly key: string
  /** `SHOAL_STORE`, `SHOAL_UP_MEMORY`. */
  readonly variable: string
  readonly option: Option
}

export interface Found {
  readonly setting: Setting
  readonly source: 'env' | 'config'
  /** In words. */
  readonly where: string
}

/** All that can be set, by key. */
export function knownSettings(program: Command): Map<string, Known> {
  const all = program.commands.flatMap(settingsOf).sort((a, b) => rank(a) - rank(b))
  return new Map(all.map((known) => [known.key, known]))
}

function rank({ key }: Known): number {
  const shared = SHARED.indexOf(key)
  return shared === -1 ? SHARED.length + TABLES.indexOf(key.split('.')[0] as string) : shared
}

function settingsOf(command: Command): Known[] {
  return command.options.flatMap((option) => {
    const key = keyOf(command, option)
    return key === undefined ? [] : [{ key, variable: variableOf(key), option }]
  })
}

function keyOf(command: Command, { long }: Option): string | undefined {
  const name = long?.slice(2) ?? ''
  if (SHARED.includes(name)) return name
  return TABLES.includes(command.name()) && !NEVER.includes(name) ? `${command.name()}.${name}` : undefined
}

function variableOf(key: string): string {
  return `SHOAL_${key.replace(/[.-]/g, '_').toUpperCase()}`
}

/** `flag`: as `--config` says. An empty name: none. Throws a UsageError where a file that was named is missing. */
export function settingsPath(flag: string | undefined): string | undefined {
  const named = flag ?? process.env.SHOAL_CONFIG
  if (named === '') return undefined
  if (named !== undefined && !existsSync(named))
    throw new UsageError(`There is no file of settings at ${named}.`)
  return named ?? configFile()
}

/** Throws a UsageError for what is no setting. */
export async function loadSettings(program: Command, path: string | undefined): Promise<Settings> {
  if (path === undefined) return new Map()
  const settings = await readSettings(path).catch((error: unknown) => {
    throw error instanceof ShoalError ? new UsageError(error.message) : error
  })
  const known = knownSettings(program)
  for (const key of settings.keys()) if (!known.has(key)) throw unknownKey(key, known.keys(), `${path}: `)
  return settings
}

export function unknownKey(key: string, known: Iterable<string>, where = ''): UsageError {
  const [meant] = similar(key, known, 1)
  const hint = meant === undefined ? '"shoal config" lists them.' : `Did you mean ${meant}?`
  return new UsageError(`${where}there is no setting ${key}. ${hint}`)
}

/** As the environment or the file has it. */
export function findSetting(
  { key, variable, option }: Known,
  settings: Settings,
  path: string
): Found | undefined {
  const text = process.env[variable]
  if (text !== undefined && text !== '') {
    return { setting: settingFrom(option, text), source: 'env', where: variable }
  }
  const setting = settings.get(key)
  return setting === undefined ? undefined : { setting, source: 'config', where: `${path}: ${key}` }
}

/** What a text stands for: in a file, numbers and lists are written as such. */
export function settingFrom(option: Option, text: string): Setting {
  if (!takesValue(option))
    return /^(true|1|yes|on)$/i.test(text) || (/^(false|0|no|off)$/i.test(text) ? false : text)
  if (isList(option)) return text.split(',')
  return String(Number(text)) === text ? Number(text) : text
}

/** Of the option, as if it stood on the command line. Throws a UsageError. */
export function optionValue(option: Option, { setting, where }: Pick<Found, 'setting' | 'where'>): unknown {
  try {
    return parsed(option, setting)
  } catch (error) {
    throw new UsageError(`${where}: ${(error as Error).message}`)
  }
}

function parsed(option: Option, setting: Setting): unknown {
  if (!takesValue(option)) {
    if (typeof setting === 'boolean') return setting !== option.negate
    throw new Error('It must be true or false.')
  }
  const parts = Array.isArray(setting) ? setting : [setting]
  if (parts.length !== 1 && !isList(option)) throw new Error('It takes one value.')
  let value: unknown = isList(option) ? [] : undefined
  for (const part of parts) {
    if (typeof part === 'boolean') throw new Error(`It takes a value: ${option.flags}.`)
    value = option.parseArg === undefined ? String(part) : option.parseArg(String(part), value)
  }
  return value
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional
}

/** May be given several times. */
function isList({ parseArg }: Option): boolean {
  try {
    return parseArg !== undefined && Array.isArray(parseArg('/ip4/127.0.0.1', undefined))
  } catch {
    return false
  }
}

/** Fills in what the command line does not say. */
export async function applySettings(program: Command, command: Command): Promise<void> {
  const path = settingsPath(command.opts().config)
  const settings = await loadSettings(program, path)
  for (const known of settingsOf(command)) {
    const name = known.option.attributeName()
    if (command.getOptionValueSource(name) === 'cli') continue
    const found = findSetting(known, settings, path ?? '')
    if (found === undefined) continue
    command.setOptionValueWithSource(name, optionValue(known.option, found), found.source)
  }
}
