/** docs/CLI.md has what there is: commands, settings, places. */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { makeProgram } from '../src/cli/program.ts'
import { knownSettings } from '../src/cli/settings.ts'
import { places } from '../src/node/index.ts'

const docs = readFileSync(join(resolve(import.meta.dirname, '..'), 'docs/CLI.md'), 'utf8')
const program = makeProgram()

test('every command, with an example; and no other', () => {
  const described = [...docs.matchAll(/^- `shoal ([a-z-]+)`([\s\S]*?)(?=^- |^#)/gm)]
  expect(described.map(([, name]) => name)).toEqual(program.commands.map((command) => command.name()))
  for (const [, name, text] of described) expect(text).toMatch(new RegExp(`\`shoal ${name}[^\`]*\`\\s*$`))
})

test('examples have options that there are', () => {
  for (const [, name, rest = ''] of docs.matchAll(/`shoal ([a-z-]+)([^`]*)`/g)) {
    const command = program.commands.find((each) => each.name() === name)
    const all = [command, ...(command?.commands ?? [])].flatMap((each) => each?.options ?? [])
    for (const [flag] of rest.matchAll(/(?<= )--[a-z-]+/g))
      expect(all.map(({ long }) => long)).toContain(flag)
  }
})

test('below those, too', () => {
  for (const command of program.commands.flatMap(({ commands }) => commands)) {
    expect(docs).toContain(`\`${command.name()}\``)
  }
})

test('every setting, and no other', () => {
  const keys = [...knownSettings(program).keys()]
  const rows = docs.slice(docs.indexOf('| keys |'), docs.indexOf('Other environment'))
  const named = [...rows.matchAll(/`([a-z][a-z.-]+)`/g)].map(([, key]) => key)
  expect(named).toEqual(keys)
})

test('every place', () => {
  for (const place of Object.keys(places('/data'))) expect(docs).toMatch(new RegExp(`^\\| ${place} \\|`, 'm'))
})

test('options that every command takes', () => {
  for (const { long } of program.options.filter((option) => option.hidden)) {
    expect(docs).toMatch(new RegExp(`^\\| .*\`${long}\\b`, 'm'))
  }
})
