/** What is built: small enough, and nothing that the gateway's policy would stop. */
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'

const run = promisify(execFile)
const VITE = join(import.meta.dirname, '../node_modules/vite/bin/vite.js')
/** Of JavaScript, compressed, until somebody can chat. */
const FIRST_LOAD_BYTES = 250_000

interface Chunk {
  readonly file: string
  readonly imports?: readonly string[]
}

let folder: string
let chunks: Readonly<Record<string, Chunk>>

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-web-'))
  const env = { ...process.env, NODE_ENV: 'production' }
  const options = ['--outDir', folder, '--emptyOutDir', '--manifest', '--logLevel', 'error']
  await run(process.execPath, [VITE, 'build', import.meta.dirname, ...options], { env })
  chunks = JSON.parse(await readFile(join(folder, '.vite/manifest.json'), 'utf8'))
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

/** With what it can't run without. */
function filesOf(name: string, found = new Set<string>()): Set<string> {
  const chunk = chunks[name]
  if (chunk === undefined) throw new Error(`nothing was built of ${name}`)
  if (found.has(chunk.file)) return found
  found.add(chunk.file)
  for (const other of chunk.imports ?? []) filesOf(other, found)
  return found
}

test('the chat comes with 250 kB of JavaScript at most', async () => {
  const files = [...filesOf('src/chat/page.tsx', filesOf('index.html'))]
  const sizes = await Promise.all(
    files.map(async (file) => gzipSync(await readFile(join(folder, file))).length)
  )
  const total = sizes.reduce((sum, size) => sum + size, 0)
  console.log(`first load: ${(total / 1_000).toFixed(1)} kB of JavaScript, compressed`)
  expect(total).toBeLessThan(FIRST_LOAD_BYTES)
})

test('the first page has no script and no style of its own', async () => {
  const page = await readFile(join(folder, 'index.html'), 'utf8')
  expect(page).not.toMatch(/<style|\sstyle=|\son\w+=|javascript:/i)
  expect(
    [...page.matchAll(/<script([^>]*)>([^<]*)/g)].map(([, attributes, text]) => [
      /src=/.test(attributes ?? ''),
      text
    ])
  ).toEqual([
    [true, ''],
    [true, '']
  ])
})

test('nothing is loaded from elsewhere', async () => {
  const page = await readFile(join(folder, 'index.html'), 'utf8')
  const addresses = [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address)
  expect(addresses.filter((address) => !address?.startsWith('/') || address.startsWith('//'))).toEqual([])
  const styles = (await readdir(join(folder, 'assets'))).filter((name) => name.endsWith('.css'))
  for (const name of styles) {
    expect(await readFile(join(folder, 'assets', name), 'utf8')).not.toMatch(/url\(["']?(https?:)?\/\//)
  }
})

test('what is large is there compressed, too', async () => {
  const names = await readdir(join(folder, 'assets'))
  const main = chunks['index.html']?.file.replace('assets/', '')
  expect(names).toContain(`${main}.br`)
  expect(names).toContain(`${main}.gz`)
})

test('an installation goes on where there is no Vite, without a word', async () => {
  const bare = join(folder, 'bare')
  await mkdir(bare)
  await copyFile(join(import.meta.dirname, 'prepare.js'), join(bare, 'prepare.mjs'))
  expect(await run(process.execPath, [join(bare, 'prepare.mjs')])).toEqual({ stdout: '', stderr: '' })
})

test('an installation goes on where the build fails, with a warning', async () => {
  const cache = join(import.meta.dirname, '../node_modules/.cache')
  await mkdir(cache, { recursive: true })
  const broken = await mkdtemp(join(cache, 'shoal-web-')) // from where Vite is found
  try {
    await copyFile(join(import.meta.dirname, 'prepare.js'), join(broken, 'prepare.mjs'))
    await writeFile(join(broken, 'vite.config.ts'), 'throw new Error("no room")')
    const { stderr } = await run(process.execPath, [join(broken, 'prepare.mjs')])
    expect(stderr).toMatch(/The pages were not built.*no room/)
  } finally {
    await rm(broken, { recursive: true })
  }
})
