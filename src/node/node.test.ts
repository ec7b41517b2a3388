// The life of a whole node: begun twice, ended early, asked too soon.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { askNode } from './instance.ts'
import { Neighbours } from './neighbours.ts'
import { Node } from './node.ts'
import type { NodeSettings } from './settings.ts'

const DEMO = 'models/demo.gguf'
const ENGINE = { context: 256, sessions: 1, threads: 1, gpuLayers: 0, kvType: 'f16' } as const

let folder: string
let nodes: Node[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-node-'))
  nodes = []
})

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.stop()))
  await rm(folder, { recursive: true, force: true })
})

function nodeIn(name: string, rest: Partial<NodeSettings> = {}): Node {
  const node = new Node({
    ...{ dataDir: join(folder, name), listen: ['/ip4/127.0.0.1/tcp/0'], peers: [] },
    ...{ neighbours: join(folder, 'neighbours'), ...rest }
  })
  nodes.push(node)
  return node
}

async function statusOf(name: string): Promise<unknown> {
  for await (const status of askNode(join(folder, name), 'status')) return status
  return undefined
}

test('a second node in a folder is refused, and takes nothing of the first one away', async () => {
  const first = nodeIn('a')
  await first.start()
  const second = nodeIn('a')
  await expect(second.start()).rejects.toMatchObject({ code: 'IN_USE' })
  await second.stop()
  const found = await new Neighbours(join(folder, 'neighbours'), 'local').find()
  expect(found.map(({ peer }) => peer)).toEqual([first.host.peerId])
  expect(await statusOf('a')).toMatchObject({ peer: first.host.peerId })
})

test('it answers while it starts', async () => {
  const node = nodeIn('a', { hosting: { ...ENGINE, model: DEMO, blocks: { start: 0, end: 2 } } })
  const start = node.start()
  let early: unknown
  while (early === undefined) early = await statusOf('a').catch(() => undefined) // until it holds its folder
  expect(early).toMatchObject({ placement: 'starting', uptimeSeconds: 0, hosting: [], join: [] })
  await start
  expect(await statusOf('a')).toMatchObject({ placement: '', hosting: [{ start: 0, end: 2 }] })
})

test('stopped while it starts, it ends, and its folder is free', async () => {
  const node = nodeIn('a', { hosting: { ...ENGINE, model: DEMO, blocks: { start: 0, end: 2 } } })
  const start = node.start()
  start.catch(() => {})
  await node.stop()
  await expect(start).rejects.toMatchObject({ name: 'AbortError' })
  expect(node.host.addresses).toEqual([])
  await nodeIn('a').start()
})

test('two nodes of a machine find each other, and one that has left is forgotten', async () => {
  const [a, b] = [nodeIn('a'), nodeIn('b')]
  await a.start()
  await b.start()
  await b.joined
  expect(b.host.peers).toEqual([a.host.peerId])
  expect((await b.status()).join).toContainEqual({
    ...{ name: 'neighbours', state: 'done', detail: '1 node of yours on this machine' }
  })
  await a.stop()
  const found = await new Neighbours(join(folder, 'neighbours'), 'local').find()
  expect(found.map(({ peer }) => peer)).toEqual([b.host.peerId])
})
