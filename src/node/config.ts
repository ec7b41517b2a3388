/** The file of settings: TOML, one table per command, and what concerns many commands above the tables. */
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parse, stringify, type TomlTable, type TomlValue } from 'smol-toml'
import { z } from 'zod'
import { makeFolder, replaceFile, ShoalError } from '../common/index.ts'

const scalar = z.union([z.string().max(4_096), z.number(), z.boolean()])
const setting = z.union([scalar, z.array(scalar).max(256)])
/** Of a table, or of a setting in none. */
const NAME = /^[a-z][a-z0-9-]{0,63}(\.[a-z][a-z0-9-]{0,63})?$/

export type Setting = z.infer<typeof setting>
/** By key: `data-dir`, or `up.memory` for what a table holds. */
export type Settings = ReadonlyMap<string, Setting>

/** Of a file; more is no file of settings. */
const MAX_LENGTH = 65_536

/** None where there is no file. Throws a ShoalError CONFIG that says what is wrong where. */
export async function readSettings(path: string): Promise<Settings> {
  return settingsOf((await textOf(path)) ?? '', path)
}

/**
 * Changes one setting, and leaves the rest of the file as it is, comments included. Undefined: takes it out. Throws a
 * ShoalError CONFIG where the file is damaged, or written so that nothing but a person can change it.
 */
export async function changeSetting(path: string, key: string, value: Setting | undefined): Promise<void> {
  const text = (await textOf(path)) ?? ''
  const wanted = new Map(settingsOf(text, path))
  if (value === undefined) wanted.delete(key)
  else wanted.set(key, value)
  const changed = edited(text, key, value)
  const found = isToml(changed) ? settingsOf(changed, path) : undefined
  if (!isDeepStrictEqual(found, wanted)) {
    throw new ShoalError(
      'CONFIG',
      `${path}: ${key} is written there in a way that only you can change: edit the file.`
    )
  }
  makeFolder(dirname(path))
  await replaceFile(path, changed)
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    const text = await readFile(path, 'utf8')
    if (text.length <= MAX_LENGTH) return text
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw new ShoalError('CONFIG', `The settings cannot be read: ${message}`, { cause: error })
  }
  throw new ShoalError(
    'CONFIG',
    `${path} is no file of settings: it is longer than ${MAX_LENGTH} characters.`
  )
}

function settingsOf(text: string, path: string): Settings {
  const flat = Object.entries(parsedToml(text, path)).flatMap(([key, value]): [string, unknown][] =>
    isTable(value) ? Object.entries(value).map(([inner, its]) => [`${key}.${inner}`, its]) : [[key, value]]
  )
  return new Map(
    flat.map(([key, value]) => {
      if (!NAME.test(key)) {
        throw new ShoalError('CONFIG', `${path}: ${key} is no name of a setting, such as up.memory.`)
      }
      const { success, data } = setting.safeParse(value)
      if (success) return [key, data]
      throw new ShoalError(
        'CONFIG',
        `${path}: ${key} must be text, a number, true, false, or a list of those.`
      )
    })
  )
}

function isTable(value: TomlValue): value is TomlTable {
  return typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date)
}

function parsedToml(text: string, path: string): TomlTable {
  try {
    return parse(text)
  } catch (error) {
    throw new ShoalError('CONFIG', `${path} is not TOML: ${(error as Error).message.trim()}`, {
      cause: error
    })
  }
}

function isToml(text: string): boolean {
  try {
    return parse(text) !== undefined
  } catch {
    return false
  }
}

/** By lines, as people write such files: a setting is one line below its table's header. */
function edited(text: string, key: string, value: Setting | undefined): string {
  const [table, inner] = key.split('.', 2) as [string, string?]
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n')
  const line = value === undefined ? [] : [stringify({ [inner ?? table]: value }).trimEnd()]
  const header = new RegExp(`^\\s*\\[\\s*${table}\\s*\\]`)
  const start = inner === undefined ? 0 : lines.findIndex((each) => header.test(each)) + 1
  if (inner !== undefined && start === 0) {
    if (line.length > 0) lines.push(...(lines.length > 0 ? [''] : []), `[${table}]`, ...line)
  } else {
    const isHere = new RegExp(`^\\s*${inner ?? table}\\s*=`)
    const next = lines.findIndex((each, index) => index >= start && /^\s*\[/.test(each))
    const end = next === -1 ? lines.length : next
    const at = lines.findIndex((each, index) => index >= start && index < end && isHere.test(each))
    if (at === -1) lines.splice(start, 0, ...line)
    else lines.splice(at, 1, ...line)
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`
}
