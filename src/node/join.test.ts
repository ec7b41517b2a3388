import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Discovered, PeerAddress } from '../net/index.ts'
import { ManualClock, randomOf } from '../swarm/testing-clock.ts'
import { Joiner, type JoinerComponents, type JoinerInit } from './join.ts'
import { rememberedPeers, rememberPeers } from './remembered.ts'

const NOBODY = '/memory/nobody'
const DEADLINE_MS = 15_000

let clock: ManualClock
let folder: string
let joiners: Joiner[]
/** Whom the host is connected to. */
let peers: Set<string>
/** Who answers. */
let alive: Set<string>
let learned: { peer: string; models: readonly string[]; at: number }[]
let dialled: number[]
let providers: PeerAddress[]
let unreachable: string[]
let discover: (peer: Discovered) => void

beforeEach(async () => {
  clock = new ManualClock()
  folder = await mkdtemp(join(tmpdir(), 'shoal-join-'))
  joiners = []
  peers = new Set()
  alive = new Set()
  learned = []
  dialled = []
  providers = []
  unreachable = []
  discover = () => {}
})

afterEach(async () => {
  for (const joiner of joiners) await joiner.stop()
  await rm(folder, { recursive: true, force: true })
})

function addressOf(peer: string): PeerAddress {
  return { peer, addresses: [`/memory/${peer}/p2p/${peer}`] }
}

/** As a host does: NOBODY is waited for until the signal fires, others who are dead refuse at once. */
async function reach(peer: string, signal: AbortSignal | undefined): Promise<void> {
  if (peer === 'nobody') {
    await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  }
  if (!alive.has(peer)) throw new Error(`${peer} refuses`)
  peers.add(peer)
}

function joinerOf(
  init: Partial<JoinerInit> = {},
  rest: Partial<Pick<JoinerComponents, 'neighbours'>> & { known?: readonly PeerAddress[] } = {}
): Joiner {
  const host: JoinerComponents['host'] = {
    peerId: 'self',
    get peers() {
      return [...peers]
    },
    async connect(address, signal) {
      dialled.push(clock.now())
      const peer = address.split('/').at(-1) as string
      await reach(peer, signal)
      return peer
    },
    onDiscovered(listener) {
      discover = listener
      return () => {
        discover = () => {}
      }
    },
    provide: async () => {},
    async *findProviders() {
      yield* providers
    },
    addressesOf: (peer) => addressOf(peer).addresses as string[]
  }
  const directory = { nodes: rest.known ?? [], get: () => undefined, nodesOf: () => [] }
  const swarm = {
    directory: directory as unknown as JoinerComponents['swarm']['directory'],
    async learn(peer: string, _: readonly string[], models: readonly string[], signal?: AbortSignal) {
      learned.push({ peer, models, at: clock.now() })
      await reach(peer, signal)
    }
  }
  const joiner = new Joiner(
    { host, swarm: swarm as JoinerComponents['swarm'], clock, random: randomOf(1), ...rest },
    {
      ...{ addresses: [], mdns: false, kademlia: false, models: () => ['m'], hosted: () => [] },
      onUnreachable: (address) => unreachable.push(address),
      ...init
    }
  )
  joiners.push(joiner)
  return joiner
}

function stepOf(joiner: Joiner, source: string): string {
  const step = joiner.steps.find(({ name }) => name === source)
  return `${step?.state}: ${step?.detail}${step?.advice === undefined ? '' : ` -> ${step.advice}`}`
}

describe('sources', () => {
  test('nothing to try is said so', async () => {
    const joiner = joinerOf()
    await joiner.start()
    expect(joiner.steps.map(({ name, state }) => [name, state])).toEqual([
      ['given', 'off'],
      ['remembered', 'off'],
      ['neighbours', 'off'],
      ['mdns', 'off'],
      ['kademlia', 'off']
    ])
  })

  test('given addresses: some answer, some are advised on', async () => {
    alive.add('a')
    const [good, bad] = [...addressOf('a').addresses, ...addressOf('b').addresses] as [string, string]
    const joiner = joinerOf({ addresses: [good, bad] })
    await joiner.start()
    expect(stepOf(joiner, 'given')).toMatch(
      /^done: 1 of 2 nodes answered -> .*are right: \/memory\/b\/p2p\/b$/
    )
    expect(unreachable).toEqual([bad])
  })

  test('a node with several addresses is reached if one of them answers', async () => {
    alive.add('a')
    const joiner = joinerOf({ addresses: ['/memory/x', ...addressOf('a').addresses, '/lan/a/p2p/a'] })
    await joiner.start()
    expect(stepOf(joiner, 'given')).toMatch(/^done: 1 of 2 nodes/)
    expect(unreachable).toEqual(['/memory/x'])
  })

  test('all dead: it fails in time, and its owner is told once', async () => {
    const joiner = joinerOf({ addresses: [NOBODY], kademlia: true })
    void joiner.start()
    await clock.advance(DEADLINE_MS - 1)
    expect(stepOf(joiner, 'given')).toBe('waiting: for 1 node to answer')
    await clock.advance(1)
    expect(stepOf(joiner, 'given')).toMatch(/^failed: 0 of 1 node answered -> Check/)
    await clock.advance(1)
    expect(stepOf(joiner, 'kademlia')).toBe('waiting: for a first peer to ask')
    await clock.advance(10 * 60_000)
    expect(unreachable).toEqual([NOBODY])
  })

  test('peers from last time', async () => {
    await rememberPeers(folder, [addressOf('a'), addressOf('b')])
    alive.add('b')
    const joiner = joinerOf({ folder })
    await joiner.start()
    expect(stepOf(joiner, 'remembered')).toBe('done: 1 of 2 peers from last time answered')
    alive.clear()
    const another = joinerOf({ folder })
    await another.start()
    expect(stepOf(another, 'remembered')).toMatch(/^failed: 0 of 2 .* -> .*--peer/)
  })

  test('nodes of this machine', async () => {
    alive.add('a')
    const neighbours = { find: async () => [addressOf('self'), addressOf('a'), addressOf('b')] }
    const joiner = joinerOf({}, { neighbours: neighbours as unknown as JoinerComponents['neighbours'] })
    await joiner.start()
    expect(stepOf(joiner, 'neighbours')).toBe('done: 1 node of yours on this machine')
    expect(learned.map(({ peer }) => peer)).not.toContain('self')
    alive.clear()
    const another = joinerOf({}, { neighbours: neighbours as unknown as JoinerComponents['neighbours'] })
    await another.start()
    expect(stepOf(another, 'neighbours')).toMatch(/^failed: none of your 2 nodes here answers/)
  })

  test('the local network, where the same node is heard of again and again', async () => {
    const joiner = joinerOf({ mdns: true })
    await joiner.start()
    expect(stepOf(joiner, 'mdns')).toBe('waiting: for nodes on the local network')
    await clock.advance(DEADLINE_MS)
    expect(stepOf(joiner, 'mdns')).toMatch(/^failed: nobody else .* -> .*5353/)
    alive.add('a')
    for (let time = 0; time < 3; time++) {
      discover({ ...addressOf('a'), isNear: true })
      await clock.advance(1)
    }
    expect(stepOf(joiner, 'mdns')).toBe('done: 1 node found on the local network')
  })

  test('Kademlia is asked once there is somebody to ask', async () => {
    alive.add('a').add('b')
    providers = [addressOf('b'), addressOf('self'), addressOf('dead')]
    const joiner = joinerOf({ addresses: addressOf('a').addresses, kademlia: true })
    await joiner.start()
    expect(peers).toEqual(new Set(['a', 'b']))
    expect(stepOf(joiner, 'kademlia')).toBe('done: 1 provider found')
  })
})

describe('looking on', () => {
  test('whoever is alone looks again, half as often each time', async () => {
    const joiner = joinerOf({ addresses: [NOBODY] })
    void joiner.start()
    await clock.advance(6 * 60_000)
    const pauses = dialled.slice(1).map((at, index) => at - (dialled[index] as number))
    expect(pauses).toEqual([20_000, 20_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000])
  })

  test('it begins anew when the last peer has gone', async () => {
    const joiner = joinerOf({ addresses: addressOf('a').addresses })
    alive.add('a')
    await joiner.start()
    await clock.advance(10 * 60_000)
    expect(dialled).toHaveLength(1)
    peers.clear()
    alive.clear()
    await clock.advance(5_000)
    expect(dialled).toHaveLength(2)
    alive.add('a')
    await clock.advance(30_000)
    expect(peers).toEqual(new Set(['a']))
  })

  test('known nodes until there are enough of them, and of those three directories in full', async () => {
    const known = Array.from({ length: 20 }, (_, index) => addressOf(`n${index}`))
    for (const { peer } of known) alive.add(peer)
    await joinerOf({}, { known }).start()
    await clock.advance(60_000)
    expect(peers.size).toBe(8)
    expect(learned.filter(({ models }) => models.length === 0)).toHaveLength(3)
    expect(learned).toHaveLength(8)
  })

  test('with enough peers nobody who says to be here is dialled', async () => {
    for (let index = 0; index < 8; index++) peers.add(`n${index}`)
    await joinerOf({ mdns: true }).start()
    alive.add('a')
    discover({ ...addressOf('a'), isNear: true })
    await clock.advance(1)
    expect(learned).toEqual([])
  })
})

describe('stop', () => {
  test('peers are remembered', async () => {
    alive.add('a')
    const joiner = joinerOf({ folder, addresses: addressOf('a').addresses })
    await joiner.start()
    await joiner.stop()
    expect(await rememberedPeers(folder)).toEqual([addressOf('a')])
  })

  test('while it joins: nothing is waited for, reported or tried any more', async () => {
    const joiner = joinerOf({ addresses: [NOBODY], mdns: true })
    const start = joiner.start()
    await clock.advance(1_000)
    await joiner.stop()
    await start
    await clock.advance(10 * 60_000)
    expect(unreachable).toEqual([])
    expect(dialled).toHaveLength(1)
  })
})
