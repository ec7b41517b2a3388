/** Every command of the README, through npm as written there. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
const commands = [...readme.matchAll(/```sh\n([^`]+)```/g)].flatMap((block) =>
  (block[1] as string).trim().split('\n')
)
const of = (word: string): string => commands.find((command) => command.includes(` -- ${word}`)) ?? ''
const ups = commands.filter((command) => command.includes(' up'))
const [run, status, invite] = [of('run'), of('status'), of('invite')]
const [pull, list] = [of('pull'), of('list')]
const certify = of('certify')

const children: ChildProcess[] = []
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-readme-'))
})

afterAll(async () => {
  await Promise.all(
    children.map(async (child) => {
      const group = -(child.pid as number) // npm and what it runs
      process.kill(group, 'SIGTERM')
      await vi.waitFor(() => expect(() => process.kill(group, 0)).toThrow('ESRCH'), { timeout: 20_000 })
    })
  )
  await rm(folder, { recursive: true, force: true })
})

/** As a shell would run it, in a group of its own; folders in /tmp become this test's. */
function start(command: string): ChildProcess {
  const line = command.replace('/tmp/', `${folder}/`)
  return spawn(line, { cwd: ROOT, shell: true, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
}

async function outputOf(command: string): Promise<string> {
  const child = start(command)
  const exit = once(child, 'exit')
  const output = await text(child.stdout as NodeJS.ReadableStream)
  const [code] = (await exit) as [number | null]
  expect(code).toBe(0)
  return output
}

/** Resolves when it hosts something. */
async function nodeOf(command: string): Promise<void> {
  const child = start(command)
  children.push(child)
  for await (const line of createInterface({ input: child.stderr as NodeJS.ReadableStream })) {
    if (line.startsWith('hosts blocks')) return void child.stderr?.resume()
  }
  throw new Error(`${command} hosts nothing`)
}

test('the README has no command but those that are run here, and npm ci and npm test', () => {
  const [first = '', second = ''] = ups
  const known = [
    'npm ci && npm run demo',
    'npm ci && npm test',
    first,
    run,
    status,
    second,
    invite,
    pull,
    list,
    certify
  ]
  expect(commands).toEqual(known)
})

test('the demo, and its help', async () => {
  const command = /`(npm run demo -- --once)`/.exec(readme)?.[1] as string
  expect(await outputOf(command)).toMatch(/Once upon a time[\s\S]+tokens per second/)
  expect(await outputOf('npm run demo -- --help')).toContain('--model <file>')
})

test('a swarm of two nodes that find each other, a question to them, an invitation', async () => {
  for (const command of ups) await nodeOf(command)
  expect(await outputOf(run)).toContain('Once upon a time')
  expect(await outputOf(status)).toMatch(/hosts blocks 0-8 of 8[\s\S]*1 peer/)
  expect(await outputOf(invite)).toMatch(/^shoal1\S+$/m)
})

test('a model in the store', async () => {
  expect(await outputOf(pull)).toMatch(/^Shoal demo \(\w{12}\), 1\.85 MB: /m)
  expect(await outputOf(list)).toMatch(/^demo:2m-q8_0 +\w{12} +1\.85 MB +all 8 /m)
})

test('certification of the embedded model', async () => {
  expect(await outputOf(certify)).toMatch(/bit-equal/)
})
