/** A node in a namespace: a relay, a provider or a consumer, by its settings. It does what its parent asks for. */
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createHost, dialScope, type Host, type NatOptions } from '../../src/net/index.ts'
import { judgeReachability, ownAddresses, type Reachability } from '../../src/net/reachability.ts'
import { Hosting } from '../../src/node/hosting.ts'
import { Relays } from '../../src/session/index.ts'
import { StageServer } from '../../src/stage/index.ts'
import { discover } from '../../src/swarm/index.ts'
import { ask } from '../chaos/ask.ts'

export interface PeerInit {
  /** For what it hosts. */
  readonly folder: string
  readonly listen: readonly string[]
  readonly nat: NatOptions
  /** Blocks of the demo. */
  readonly span?: { readonly start: number; readonly end: number }
  readonly preSharedKey?: readonly number[]
}

/** What it says when it is up. */
export interface Up {
  readonly peer: string
  readonly addresses: readonly string[]
}

/** What it can be asked, one after the other, and what it answers. */
export interface Requests {
  /** Connect to a node; resolves when the address that others shall use, such as one through a relay, is there. */
  join: { asks: { address: string; until: string }; answers: { addresses: string[] } }
  /** Connect to a node, and see how it is connected when that is directly, or the time is up. */
  meet: { asks: { address: string; waitMs: number }; answers: Met }
  /** A new session over all stages that these nodes host. */
  ask: { asks: { nodes: string[]; prompt: number[]; maxTokens: number }; answers: Told }
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
  /** From the first dial until all stages are known. */
  readonly connectMs: number
  /** From then on, opening the session included. */
  readonly firstTokenMs: number
  /** Between two tokens. */
  readonly tokenMs: number[]
  readonly events: string[]
}

const DEMO = fileURLToPath(new URL('../../models/demo.gguf', import.meta.url))
/** How exactly the arrival of a direct connection is told. */
const LOOK_MS = 5
const HOSTING = { context: 1024, sessions: 4, threads: 1, kvType: 'f16', gpuLayers: 0 } as const

const { folder, listen, nat, span, preSharedKey } = JSON.parse(process.argv[2] ?? '') as PeerInit
const host = createHost({
  identity: { ephemeral: true },
  listen: [...listen],
  nat,
  dialGate: dialScope('any'),
  ...(preSharedKey === undefined ? {} : { preSharedKey: Uint8Array.from(preSharedKey) })
})
const relays = new Relays()
const server = new StageServer({ host })
if (span !== undefined) await new Hosting({ server }, { ...HOSTING, folder }).host(DEMO, span)
host.serve({
  info: () => ({ version: '0', stages: server.infos, addresses: host.addresses, peers: [] }),
  control: (stream) => server.control(stream),
  data: (ticket, stream) => relays.accept(ticket, stream) ?? server.data(ticket, stream)
})

const answers: {
  [T in keyof Requests]: (asked: Requests[T]['asks']) => Promise<Requests[T]['answers']>
} = {
  join: async ({ address, until }) => {
    await host.connect(address)
    while (!host.addresses.some((own) => own.includes(until))) await delay(LOOK_MS)
    return { addresses: host.addresses }
  },
  meet: async ({ address, waitMs }) => {
    const begin = performance.now()
    const peer = await host.connect(address)
    const connected = performance.now()
    while (host.wayTo(peer) !== 'direct' && performance.now() - connected < waitMs) await delay(LOOK_MS)
    const directMs = performance.now() - connected
    return { way: host.wayTo(peer), connectMs: connected - begin, directMs }
  },
  ask: async ({ nodes, prompt, maxTokens }) => {
    const begin = performance.now()
    const found = await discover(host, nodes)
    const chain = found
      .map((hosted) => ({ ...hosted, start: hosted.stage.start, end: hosted.stage.end }))
      .toSorted((a, b) => a.start - b.start)
    const asked = performance.now()
    const told = await ask({ host, relays }, { chain, prompt: Int32Array.from(prompt), maxTokens })
    const [first = Number.NaN, ...rest] = told.tokensAt
    return {
      tokens: told.tokens,
      connectMs: asked - begin,
      firstTokenMs: first - asked,
      tokenMs: rest.map((at, index) => at - (told.tokensAt[index] as number)),
      events: told.events.map(({ event }) => event.type)
    }
  },
  reachability: async () =>
    judgeReachability({
      joined: true,
      addresses: host.addresses,
      interfaces: ownAddresses(),
      peers: host.peers.map((peer) => host.addressesOf(peer))
    })
}

process.on('message', async ({ type, ...asked }: { type: keyof Requests }) => {
  const answer = answers[type] as (asked: object) => Promise<object>
  process.send?.(await answer(asked).catch((error: Error) => ({ error: error.message })))
})
process.once('disconnect', () => process.exit())

await host.start()
process.send?.({ peer: host.peerId, addresses: host.addresses } satisfies Up)
