/** Three stages as processes, a consumer here, and emulated links between all of them. */
import { setTimeout } from 'node:timers/promises'
import { openModel } from '../src/models/index.ts'
import { Node } from '../src/node/index.ts'
import { type ChainHop, discover, findChain } from '../src/swarm/index.ts'
import { emulate, PROFILES, type WanProfile } from '../test/wan/index.ts'
import { median } from './bench.ts'
import { type Provider, startProvider } from './providers.ts'

export const HOPS = 3
const PINGS = 15
/** Between pings at most: what one answers to comes by a timer, and so would all that follow at once. */
const MOST_PAUSE_MS = 3

export interface WanChainInit {
  readonly path: string
  readonly folder: string
  /** KV positions of each stage, of all sessions together. */
  readonly context: number
  readonly sessions: number
  readonly threads: number
}

export interface WanChain {
  readonly node: Node
  readonly chain: readonly ChainHop[]
  /** Numbers per row. */
  readonly width: number
  /** All links are so from now on. */
  link(profile: WanProfile): void
  /** The consumer's round trips to the stages, measured now: the median of medians. */
  roundTripMs(): Promise<number>
  stop(): Promise<void>
}

export async function startWanChain(init: WanChainInit): Promise<WanChain> {
  const { path, folder, context, sessions, threads } = init
  const model = await openModel(path)
  const { id, blockCount, width } = model
  await model.close()
  const here = emulate(PROFILES.none)
  const node = new Node({ dataDir: folder, listen: [], peers: [], ephemeral: true })
  const providers: Provider[] = []
  const stop = async (): Promise<void> => {
    here.profile = PROFILES.none
    await Promise.all(providers.map((provider) => provider.stop()))
    await node.stop()
  }
  try {
    await node.start()
    const numbers = { context, sessions, threads, 'gpu-layers': 0 }
    const flags = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)])
    for (let hop = 0; hop < HOPS; hop++) {
      const border = (at: number): number => Math.round((at * blockCount) / HOPS)
      const blocks = `${border(hop)}-${border(hop + 1)}`
      providers.push(await startProvider({ model: path, blocks, folder, flags, profile: 'none' }))
    }
    const found = await discover(
      node.host,
      providers.map(({ address }) => address)
    )
    const chain = findChain(found, id)
    return {
      ...{ node, chain, width, stop },
      link(profile) {
        here.profile = profile
        for (const provider of providers) provider.wan(profile)
      },
      async roundTripMs() {
        const medians: number[] = []
        for (const { peer } of chain) {
          const times: number[] = []
          for (let ping = 0; ping < PINGS; ping++) {
            await setTimeout(Math.random() * MOST_PAUSE_MS)
            times.push(await node.host.ping(peer))
          }
          medians.push(median(times))
        }
        return median(medians)
      }
    }
  } catch (error) {
    await stop()
    throw error
  }
}
