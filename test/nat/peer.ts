/** A node in a namespace, as `shoal up` or `shoal run` makes it. It does what its parent asks for. */
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openModel } from '../../src/models/index.ts'
import { type Host, judgeReachability, ownAddresses, type Reachability } from '../../src/net/index.ts'
import { invite, joinPrivate, joinPublic, Node, readSwarmFile } from '../../src/node/index.ts'
import { ask } from '../chaos/ask.ts'
import { PUBLIC_ADDRESS } from './network.ts'

export interface PeerInit {
  /** Its data folder, of its own. */
  readonly folder: string
  /** What it has joined, or the token of what it is to join. `founder` makes a private swarm. */
  readonly swarm: 'public' | 'founder' | { readonly token: string }
  /** Nodes to know from the start. */
  readonly peers: readonly string[]
  /** Blocks of the demo to host, or a consumer, which comes and goes. */
  readonly span?: { readonly start: number; readonly end: number } | 'none'
}

/** What it says when it is up. */
export interface Up {
  readonly peer: string
  /** Of the swarm that it has made. */
  readonly token?: string
}

/** What it can be asked, one after the other, and what it answers. */
export interface Requests {
  /** Where others reach it, when that is somewhere. */
  reached: { asks: object; answers: { address: string; afterMs: number } }
  /** Connect to a node, and see how it is connected when that is directly, or the time is up. */
  meet: { asks: { address: string; waitMs: number }; answers: Met }
  /** A new session over whatever chain there is. */
  ask: { asks: { prompt: number[]; maxTokens: number }; answers: Told }
  reachability: { asks: object; answers: Reachability }
}

export interface Met {
  readonly way: ReturnType<Host['wayTo']>
  /** Until there was a connection, and how long after that. */
  readonly connectMs: number
  readonly directMs: number
}

export interface Told {
  readonly tokens: number[]
  /** Until a chain was found. */
  readonly routeMs: number
  /** From then on, opening the session included. */
  readonly firstTokenMs: number
  /** Between two tokens. */
  readonly tokenMs: number[]
  readonly events: string[]
}

const DEMO = fileURLToPath(new URL('../../models/demo.gguf', import.meta.url))
/** How exactly the arrival of an address or a connection is told. */
const LOOK_MS = 5
const HOUR_MS = 3_600_000
/** For a chain to be there. */
const CHAIN_MS = 30_000
const ENGINE = { context: 1024, sessions: 4, threads: 1, kvType: 'f16', gpuLayers: 0 } as const

const { folder, swarm, peers, span } = JSON.parse(process.argv[2] ?? '') as PeerInit
const token = await join()
const node = new Node({
  ...{ dataDir: folder, joined: await readSwarmFile(folder), peers },
  ...(span === 'none' ? { ephemeral: true, listen: [] } : {}),
  ...(typeof span === 'object' ? { hosting: { model: DEMO, blocks: span, ...ENGINE } } : {})
})
const { host } = node
const model = await openModel(DEMO)
await model.close()

async function join(): Promise<string | undefined> {
  if (swarm === 'public') await joinPublic(folder)
  else if (swarm !== 'founder') await joinPrivate(folder, swarm.token)
  if (swarm !== 'founder') return undefined
  const init = { roles: ['consumer', 'provider'], expiresInMs: HOUR_MS, uses: 8, addresses: [PUBLIC_ADDRESS] }
  return (await invite(folder, init as Parameters<typeof invite>[1])).token
}

const answers: {
  [T in keyof Requests]: (asked: Requests[T]['asks']) => Promise<Requests[T]['answers']>
} = {
  reached: async () => {
    for (;;) {
      const address = host.addresses.find((own) => own.includes('/p2p-circuit'))
      if (address !== undefined) return { address, afterMs: performance.now() - startedAt }
      await delay(LOOK_MS)
    }
  },
  meet: async ({ address, waitMs }) => {
    const begin = performance.now()
    const peer = await host.connect(address)
    const connected = performance.now()
    while (host.wayTo(peer) !== 'direct' && performance.now() - connected < waitMs) await delay(LOOK_MS)
    const directMs = performance.now() - connected
    return { way: host.wayTo(peer), connectMs: connected - begin, directMs }
  },
  ask: async ({ prompt, maxTokens }) => {
    const begin = performance.now()
    const signal = AbortSignal.timeout(CHAIN_MS)
    const lengths = { promptTokens: prompt.length, answerTokens: maxTokens }
    const { chain } = await node.route({ model: model.id, ...lengths, waitMs: CHAIN_MS, signal })
    const asked = performance.now()
    const components = { host, relays: node.relays, directory: node.swarm }
    const told = await ask(components, { chain, prompt: Int32Array.from(prompt), maxTokens })
    const [first = Number.NaN, ...rest] = told.tokensAt
    return {
      tokens: told.tokens,
      routeMs: asked - begin,
      firstTokenMs: first - asked,
      tokenMs: rest.map((at, index) => at - (told.tokensAt[index] as number)),
      events: told.events.map(({ event }) => event.type)
    }
  },
  reachability: async () => {
    const { addresses, peers: connected } = await node.status()
    return judgeReachability({
      ...{ joined: true, addresses, interfaces: ownAddresses() },
      peers: connected.map((each) => each.addresses)
    })
  }
}

process.on('message', async ({ type, ...asked }: { type: keyof Requests }) => {
  const answer = answers[type] as (asked: object) => Promise<object>
  process.send?.(await answer(asked).catch((error: Error) => ({ error: error.message })))
})
process.once('disconnect', () => process.exit())

await node.start()
const startedAt = performance.now()
process.send?.({ peer: host.peerId, ...(token === undefined ? {} : { token }) } satisfies Up)
