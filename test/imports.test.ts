import { globSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'

const SOURCE = resolve(import.meta.dirname, '../src')

/** From top to bottom: a folder may import those below it. */
const LAYERS = [
  ...['cli', 'node', 'gateway', 'chat', 'session', 'stage', 'swarm', 'models'],
  ...['engine', 'net', 'gguf', 'common']
]

function importsOf(file: string): string[] {
  const source = readFileSync(join(SOURCE, file), 'utf8')
  return [...source.matchAll(/from '(\.[^']+)'/g)].map((match) => match[1] as string)
}

const isTest = (file: string): boolean => /\.test\.ts$|testing\.ts$/.test(file)
const files = globSync('**/*.ts', { cwd: SOURCE }).filter((file) => !isTest(file))

test('imports point down the list of folders, and go through index.ts', () => {
  const wrong = files.flatMap((file) => {
    const folder = file.split('/')[0] as string
    return importsOf(file).flatMap((path) => {
      const target = relative(SOURCE, resolve(SOURCE, file, '..', path))
      const other = target.split('/')[0] as string
      if (other === folder || other === '..') return []
      const isDown = LAYERS.indexOf(other) > LAYERS.indexOf(folder)
      const isContract = target === `${other}/index.ts`
      return isDown && isContract ? [] : [`${file} imports ${target}`]
    })
  })
  expect(wrong).toEqual([])
})

test('every folder has its place in the list', () => {
  const folders = new Set(files.filter((file) => file.includes('/')).map((file) => file.split('/')[0]))
  expect([...folders].filter((folder) => !LAYERS.includes(folder as string))).toEqual([])
})
