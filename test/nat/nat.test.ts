/** Chains between homes behind routers of several kinds: through a relay, then directly where that can be. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { Oracle } from '../chaos/oracle.ts'
import { DEMO } from '../swarm.ts'
import { NatNetwork, obstacleHere, PUBLIC_ADDRESS, type Router } from './network.ts'
import type { Met, PeerInit, Requests, Told, Up } from './peer.ts'

const PEER = fileURLToPath(new URL('peer.ts', import.meta.url))
const PROMPT = 'Tell me a story about a little fish.'
/** Enough that the answer goes on while the direct connection takes over. */
const LONG = 600
const SHORT = 32
/** A direct connection is there by then, or not at all: two attempts of five seconds. */
const ATTEMPTS_MS = 12_000
/** For others to dial an address back, and say so. */
const PATIENCE = { timeout: 20_000, interval: 100 }

const obstacle = await obstacleHere()
if (obstacle !== undefined) console.warn(`No NAT tests here: ${obstacle}`)

let oracle: Oracle
let prompt: Int32Array
let folder: string
let network: NatNetwork | undefined
let started = 0

interface Peer extends Up {
  ask<T extends keyof Requests>(type: T, asks: Requests[T]['asks']): Promise<Requests[T]['answers']>
  kill(): Promise<void>
}

async function start(namespace: string, init: Omit<PeerInit, 'folder'>): Promise<Peer> {
  const own: PeerInit = { ...init, folder: join(folder, String(started++)) }
  const child = (network as NatNetwork).fork(namespace, PEER, [JSON.stringify(own)])
  const gone = once(child, 'exit').then(([code]) => {
    throw new Error(`a peer in ${namespace} ended with code ${code}`)
  })
  gone.catch(() => {})
  const heard = async <T>(): Promise<T> => {
    const [message] = (await Promise.race([once(child, 'message'), gone])) as [T & { error?: string }]
    if (message.error !== undefined) throw new Error(message.error)
    return message
  }
  return {
    ...(await heard<Up>()),
    ask: (type, asks) => {
      child.send({ type, ...asks })
      return heard()
    },
    kill: async () => {
      child.kill('SIGKILL')
      await gone.catch(() => {})
    }
  }
}

interface Scene {
  readonly relay: Peer
  /** Hosts the first half, in the first home. */
  readonly near: Peer
  /** Hosts the second half, in the second home. */
  readonly far: Peer
  /** In the first home. */
  readonly asker: Peer
  /** Of `near` and `far`, through the relay. */
  readonly nodes: string[]
}

async function scene(
  routers: readonly [Router, Router],
  kind: 'public' | 'private' = 'public'
): Promise<Scene> {
  network = new NatNetwork(routers)
  const [home = '', other = ''] = network.homes
  const relay = await start(network.wan, { swarm: kind === 'public' ? 'public' : 'founder', peers: [] })
  const swarm = relay.token === undefined ? 'public' : { token: relay.token }
  const peers = [`${PUBLIC_ADDRESS}/p2p/${relay.peer}`]
  const [near, far] = await Promise.all([
    start(home, { swarm, peers, span: { start: 0, end: 4 } }),
    start(other, { swarm, peers, span: { start: 4, end: 8 } })
  ])
  const reached = await Promise.all([near, far].map((peer) => peer.ask('reached', {})))
  const nodes = reached.map(({ address }) => address)
  const asker = await start(home, { swarm, peers: nodes, span: 'none' })
  return { relay, near, far, asker, nodes }
}

/** An answer of both, which must be the whole model's. */
async function answer({ asker }: Scene, maxTokens: number): Promise<Told> {
  const told = await asker.ask('ask', { prompt: [...prompt], maxTokens })
  expect(told.tokens).toEqual(await oracle.answer(prompt, maxTokens))
  return told
}

/** How those who dial each other are connected in the end: within the first home, and from there to the second. */
async function ways({ asker, near, nodes }: Scene): Promise<Met['way'][]> {
  const [nearby = '', far = ''] = nodes
  const met = await Promise.all([
    asker.ask('meet', { address: far, waitMs: ATTEMPTS_MS }),
    near.ask('meet', { address: far, waitMs: ATTEMPTS_MS })
  ])
  const home = await asker.ask('meet', { address: nearby, waitMs: ATTEMPTS_MS })
  return [home, ...met].map(({ way }) => way)
}

function report(what: string, { firstTokenMs: first, tokenMs, events }: Told): void {
  const sorted = tokenMs.toSorted((a, b) => a - b)
  const [median = Number.NaN, most = Number.NaN] = [sorted[sorted.length >> 1], sorted.at(-1)]
  const told = events.length === 0 ? '' : `; ${events.join(', ')}`
  console.log(
    `${what}: first token ${first.toFixed()} ms, then ${median.toFixed(1)} ms, at most ${most.toFixed()} ms${told}`
  )
}

describe.skipIf(obstacle !== undefined)('nodes in two homes', { timeout: 180_000 }, () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'shoal-nat-'))
    oracle = new Oracle(DEMO, 1024)
    await oracle.start()
    prompt = await oracle.tokenize(PROMPT)
  })

  afterEach(async () => {
    await network?.remove()
    network = undefined
  })

  afterAll(async () => {
    await oracle.stop()
    await rm(folder, { recursive: true, force: true })
  })

  test.each([
    ['cone', 'cone'],
    ['carrier', 'cone'],
    ['carrier', 'carrier']
  ] as const)('behind %s and %s connect directly, and need no relay then', async (...routers) => {
    const here = await scene(routers)
    report(`${routers}: while the direct connection takes over`, await answer(here, LONG))
    expect(await ways(here)).toEqual(['direct', 'direct', 'direct'])
    await here.relay.kill()
    report(`${routers}: without the relay`, await answer(here, SHORT))
  })

  test.each([
    ['cone', 'symmetric'],
    ['symmetric', 'cone'],
    ['symmetric', 'symmetric'],
    ['cone', 'tcp-only']
  ] as const)('behind %s and %s are served by the relay', async (...routers) => {
    const here = await scene(routers)
    report(`${routers}: while a direct connection is tried`, await answer(here, SHORT))
    expect(await ways(here)).toEqual(['direct', 'relay', 'relay'])
    report(`${routers}: through the relay`, await answer(here, SHORT))
  })

  test('of one private swarm do all that with its key', async () => {
    const here = await scene(['cone', 'cone'], 'private')
    await answer(here, SHORT)
    expect(await ways(here)).toEqual(['direct', 'direct', 'direct'])
    await here.relay.kill()
    await answer(here, SHORT)
  })

  test('are connected directly soon, and say how others reach them', async () => {
    const { relay, near, asker, nodes } = await scene(['cone', 'cone'])
    const met = await asker.ask('meet', { address: nodes[1] as string, waitMs: ATTEMPTS_MS })
    console.log(`relayed after ${met.connectMs.toFixed()} ms, directly ${met.directMs.toFixed()} ms later`)
    expect(met.way).toBe('direct')
    expect(await near.ask('reachability', {})).toMatchObject({ status: 'relayed' })
    expect(await asker.ask('reachability', {})).toMatchObject({ status: 'local' })
    const judged = (): Promise<object> => relay.ask('reachability', {})
    await vi.waitFor(async () => expect(await judged()).toMatchObject({ status: 'reachable' }), PATIENCE)
  })
})
