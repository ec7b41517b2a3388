/** The same with libp2p, on loopback, and time as it passes. */
import { afterEach, expect, test } from 'vitest'
import { createHost, type Host } from '../net/index.ts'
import { Swarm } from './swarm.ts'
import { MODEL, stageOf } from './testing-members.ts'

interface Node {
  readonly host: Host
  readonly swarm: Swarm
}

const nodes: Node[] = []

async function start(...spans: readonly [number, number][]): Promise<Node> {
  const host = createHost({ identity: { ephemeral: true }, listen: ['/ip4/127.0.0.1/tcp/0'] })
  const swarm = new Swarm({ network: host })
  host.serve({
    info: () => ({ version: '1', stages: [], addresses: [], peers: [] }),
    control: (stream) => stream.abort(new Error('no sessions here')),
    data: () => undefined,
    ask: (peer, request) => swarm.answer(peer, request)
  })
  await host.start()
  await swarm.start()
  swarm.follow(MODEL)
  swarm.announce({ stages: spans.map(([from, to]) => stageOf(from, to)), wants: [] })
  const node = { host, swarm }
  nodes.push(node)
  return node
}

/** Resolves when the peers in its directory are these. */
async function knows({ swarm }: Node, others: readonly Node[]): Promise<void> {
  const wanted = others.map(({ host }) => host.peerId).toSorted()
  await new Promise<void>((resolve) => {
    const look = (): void => {
      const known = swarm.directory.nodes.map(({ peer }) => peer).toSorted()
      if (known.join() === wanted.join()) resolve()
    }
    swarm.directory.onChange(look)
    look()
  })
}

afterEach(async () => {
  for (const { swarm, host } of nodes.splice(0)) {
    await swarm.stop()
    await host.stop()
  }
})

test('hosts learn of each other, of changes, and of deaths', async () => {
  const a = await start([0, 4])
  const b = await start([4, 8])
  const c = await start([0, 8])
  const consumer = await start()
  // In a ring, so that gossip has to be passed on, and goes on without one of them.
  const ring: readonly [Node, Node][] = [
    [b, a],
    [c, b],
    [consumer, c],
    [consumer, a]
  ]
  for (const [one, other] of ring) {
    await one.swarm.learn(other.host.peerId, other.host.addresses, [])
  }
  await knows(consumer, [a, b, c])
  await Promise.all([knows(a, [b, c]), knows(b, [a, c]), knows(c, [a, b])])

  const changed = new Promise((resolve) => consumer.swarm.directory.onChange((_, change) => resolve(change)))
  a.swarm.announce({ stages: [stageOf(0, 5)], wants: [] })
  expect(await changed).toBe('changed')
  expect(consumer.swarm.directory.announcementOf(a.host.peerId)?.stages[0]?.end).toBe(5)

  // As when its process is killed: nobody says goodbye.
  await b.host.stop()
  const killed = performance.now()
  void consumer.swarm.report(b.host.peerId)
  await Promise.all([knows(a, [c]), knows(c, [a]), knows(consumer, [a, c])])
  expect(performance.now() - killed).toBeLessThan(10_000)

  await c.swarm.stop()
  await knows(consumer, [a])
})

test('who gossips garbage is cut', async () => {
  const victim = await start([0, 8])
  const liar = await start([0, 8])
  await liar.swarm.learn(victim.host.peerId, victim.host.addresses, [])
  await knows(victim, [liar])
  const cut = new Promise((resolve) => victim.host.onDisconnect(resolve))
  for (let index = 0; index < 4; index++) {
    await liar.host.publish(`/shoal/model/1/${MODEL}`, Uint8Array.of(0x0a, 0xff, index)) // longer than it is
  }
  expect(await cut).toBe(liar.host.peerId)
  await expect(liar.swarm.learn(victim.host.peerId, victim.host.addresses, [])).rejects.toThrow()
})
