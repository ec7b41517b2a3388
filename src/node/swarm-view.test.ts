// What is told of a swarm, by a node in the middle of it.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, TestSwarm } from '../../test/swarm.ts'
import type { Node } from './node.ts'
import { swarmView } from './swarm-view.ts'

let swarm: TestSwarm

beforeAll(async () => {
  swarm = await TestSwarm.start(['0-3', '3-8'])
})

afterAll(() => swarm?.stop())

test('who hosts what, how fast, how far and how it is reached; and what is missing', async () => {
  const [one, other] = swarm.nodes as [Node, Node]
  const view = swarmView(one)
  const { model = '' } = one.hosted[0] ?? {}
  expect(await view.snapshot()).toMatchObject({
    self: { peer: one.host.peerId, hosting: [{ model, start: 0, end: 3 }], reachability: 'local' },
    models: [{ id: model, holders: [1, 1, 1, 0, 0, 0, 0, 0], missing: [[3, 8]], isCovered: false }]
  })
  await one.host.connect(other.host.addresses[0] as string)
  await one.swarm.learn(other.host.peerId, other.host.addresses, [model])
  const { self, models, nodes } = await view.snapshot()
  expect(models).toMatchObject([
    { holders: [1, 1, 1, 1, 1, 1, 1, 1], missing: [], isCovered: true, nodes: 2 }
  ])
  expect(nodes).toMatchObject([
    { peer: other.host.peerId, version: self.version, reachability: 'direct', why: 'on its own machine only' }
  ])
  expect(nodes[0]?.spans).toMatchObject([{ model, start: 3, end: 8, sessions: 4 }])
  expect(nodes[0]?.spans[0]?.decodeMs).toBeGreaterThan(0)
  expect(self.join?.map(({ name }) => name)).toContain('given')
  expect(JSON.stringify(self.join)).not.toContain('127.0.0.1')
})

test('when something was heard last', async () => {
  const [one, other] = swarm.nodes as [Node, Node]
  const view = swarmView(one)
  const first = (await view.snapshot()).self.updated ?? ''
  expect((await view.snapshot()).self.updated).toBe(first)
  await other.stop()
  await eventually(() => expect(one.swarm.directory.size).toBe(0))
  expect(Date.parse((await view.snapshot()).self.updated ?? '')).toBeGreaterThan(Date.parse(first))
})
