import { setTimeout as delay } from 'node:timers/promises'
import { multiaddr } from '@multiformats/multiaddr'
import { Command } from 'commander'
import { ShoalError } from '../common/index.ts'
import type { Node } from '../node/index.ts'
import { consumerNode } from './consumer.ts'
import { INTERRUPTED, UsageError, untilInterrupted } from './lifetime.ts'
import { integer, peerOption } from './options.ts'
import { askStatus } from './status.ts'

interface PingOptions {
  readonly count: number
  readonly peer: string[]
  readonly dataDir: string
  readonly offline?: boolean
  readonly json?: boolean
}

interface Target {
  readonly peer: string
  readonly addresses: string[]
}

/** To connect, and for each answer. */
const ANSWER_MS = 10_000
const PAUSE_MS = 1_000

export function pingCommand(): Command {
  return new Command('ping')
    .description('How far a node is: round trips, and whether they go directly or through a relay.')
    .argument('<node>', 'a multiaddr, a peer id, or its last characters as "shoal peers" prints them')
    .option('-n, --count <count>', 'how many', integer(1, 1_000), 4)
    .addOption(peerOption())
    .action(ping)
}

async function ping(name: string, options: PingOptions): Promise<void> {
  const signal = untilInterrupted()
  const node = await consumerNode(options)
  try {
    await node.start({ signal })
    const peer = name.startsWith('/')
      ? await node.host.connect(address(name), within(signal))
      : await reach(node, await find(node, name, options, signal), signal)
    await measure(node, peer, options, signal)
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = INTERRUPTED
  } finally {
    await node.stop()
  }
}

function address(text: string): string {
  try {
    return multiaddr(text).toString()
  } catch {
    throw new UsageError(`${text} is no multiaddr, such as /ip4/127.0.0.1/tcp/8643.`)
  }
}

/** Among the peers of the node that runs here, then among those that this one finds. */
async function find(
  node: Node,
  name: string,
  { dataDir }: PingOptions,
  signal: AbortSignal
): Promise<Target> {
  const here = await askStatus(dataDir, signal).catch((error: unknown) => {
    if (error instanceof ShoalError) return undefined
    throw error
  })
  const isMeant = ({ peer }: { peer: string }): boolean => peer.endsWith(name)
  const known = (here === undefined ? [] : [here, ...here.peers]).find(isMeant)
  if (known !== undefined) return { peer: known.peer, addresses: known.addresses }
  await Promise.race([node.joined, delay(ANSWER_MS, undefined, { signal, ref: false })])
  const peer = node.host.peers.find((each) => isMeant({ peer: each }))
  if (peer !== undefined) return { peer, addresses: node.host.addressesOf(peer) }
  throw new ShoalError(
    'UNKNOWN_PEER',
    `Nobody known here is called ${name}: "shoal peers" lists them, or name an address.`
  )
}

async function reach(node: Node, { peer, addresses }: Target, signal: AbortSignal): Promise<string> {
  await node.host.info(peer, addresses, within(signal))
  return peer
}

async function measure(
  node: Node,
  peer: string,
  { count, json }: PingOptions,
  signal: AbortSignal
): Promise<void> {
  const ways = new Set<string>()
  const times: number[] = []
  for (let index = 0; index < count; index++) {
    if (index > 0) await delay(PAUSE_MS, undefined, { signal })
    times.push(await node.host.ping(peer, within(signal)))
    const way = node.host.wayTo(peer) === 'relay' ? 'relayed' : 'direct'
    ways.add(way)
    if (!json) console.log(`${peer}: ${times.at(-1)?.toFixed(2)} ms, ${way}`)
  }
  const sorted = times.toSorted((a, b) => a - b)
  const [least, middle, most] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)] as [
    number,
    number,
    number
  ]
  if (json) {
    console.log(JSON.stringify({ peer, way: [...ways].at(-1), round_trips_ms: times, median_ms: middle }))
  } else {
    console.log(`least ${least.toFixed(2)} ms, median ${middle.toFixed(2)} ms, most ${most.toFixed(2)} ms`)
  }
}

function within(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)])
}
