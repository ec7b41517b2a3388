// What the command prints of nodes on loopback; test/nat/ has routers, and src/net/ all that may be found.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Node } from '../node/index.ts'
import type * as lifetime from './lifetime.ts'
import { netcheckCommand } from './netcheck.ts'

// It would take this process's signals, and the channel that the runner has to it.
vi.mock('./lifetime.ts', async (original) => ({
  ...(await original<typeof lifetime>()),
  untilInterrupted: () => new AbortController().signal
}))

let folder: string
let stdout: string[]
let node: Node | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-netcheck-'))
  stdout = []
  vi.spyOn(console, 'log').mockImplementation((line) => void stdout.push(line))
})

afterEach(async () => {
  process.exitCode = undefined
  vi.restoreAllMocks()
  await node?.stop()
  node = undefined
  await rm(folder, { recursive: true, force: true })
})

async function netcheck(...args: string[]): Promise<void> {
  await netcheckCommand()
    .exitOverride()
    .parseAsync([...args, '--data-dir', folder], { from: 'user' })
}

test('where nothing has been joined, no node is needed to say so, and none is started', async () => {
  await netcheck()
  expect(stdout[0]).toMatch(/^local: This node only uses loopback/)
  expect(stdout[1]).toContain('shoal join')
  expect(process.exitCode).toBeUndefined()
})

test('a node that runs is asked', async () => {
  node = new Node({ dataDir: folder, peers: [] })
  await node.start()
  await netcheck('--json')
  const said = JSON.parse(stdout[0] as string)
  expect(said).toMatchObject({ status: 'local', addresses: node.host.addresses, peers: 0 })
})
