/** What a node knows of its swarm, for `/api/swarm`. */
import { type Clock, systemClock, VERSION } from '../common/index.ts'
import type { HostedSpan, SwarmSnapshot, SwarmView } from '../gateway/index.ts'
import {
  type Announcement,
  judgePeer,
  judgeReachability,
  ownAddresses,
  type StageInfo
} from '../net/index.ts'
import type { Node } from './node.ts'
import { storedModels } from './stored-models.ts'

/** Pages show no more. */
const MOST_NODES = 1_000
const MOST_MODELS = 256
/** Of those that somebody looks at: what is said of others is heard once a minute, as one who hosts them sums it up. */
const MOST_FOLLOWED = 8
/** Sizes and licences: models come to a disk in minutes. */
const DISK_MS = 10_000

interface Facts {
  readonly bytes: number
  readonly licence: string | undefined
}

export function swarmView(node: Node, clock: Clock = systemClock): SwarmView {
  const since = new Date(clock.wall()).toISOString()
  const factsOf = factsOnDisk(node, clock)
  const updated = lastChange(node, clock)
  return {
    notReady: () => node.notReady,
    snapshot: async () => {
      const facts = await factsOf()
      return {
        self: { ...selfOf(node), since, updated: updated() },
        models: modelsOf(node, facts),
        nodes: node.swarm.directory.nodes.slice(0, MOST_NODES).map((each) => nodeOf(node, each))
      }
    }
  }
}

function selfOf(node: Node): SwarmSnapshot['self'] {
  const { host, facts } = node
  const { swarm, placement, sessions, join } = facts
  const { status } = judgeReachability({
    ...{ joined: swarm.kind !== 'local', addresses: host.addresses, interfaces: ownAddresses() },
    peers: host.peers.map((peer) => host.addressesOf(peer))
  })
  return {
    ...{ peer: host.peerId, version: VERSION, swarm, placement, sessions },
    hosting: node.hosted.map(spanOf),
    peers: host.peers.length,
    reachability: status,
    join: join.map(({ name, state }) => ({ name, state })) // not who was asked: strangers may read it
  }
}

/** Those that most nodes host. */
function modelsOf(node: Node, facts: ReadonlyMap<string, Facts>): SwarmSnapshot['models'] {
  const models = node.models.sort((a, b) => b.nodes - a.nodes).slice(0, MOST_MODELS)
  for (const { model } of models.slice(0, MOST_FOLLOWED)) node.follow(model)
  return models.map(({ model: id, covered: isCovered, ...rest }) => {
    const holders = [...(node.swarm.summaries.of(id)?.holders ?? [])]
    return { ...rest, id, isCovered, holders, ...facts.get(id) }
  })
}

function nodeOf(node: Node, announcement: Announcement): SwarmSnapshot['nodes'][number] {
  const { peer, stages, version, addresses } = announcement
  const { status: reachability, why } = judgePeer(addresses)
  const rttMs = node.rttTo(peer)
  return { peer, spans: stages.map(spanOf), rttMs, version, reachability, why }
}

function spanOf({ model, start, end, state, speed, sessions, demand }: StageInfo): HostedSpan {
  const decodeMs = speed === undefined ? undefined : speed.decodeMicroseconds / 1_000
  return { model, start, end, state, decodeMs, sessions, demand }
}

/** What there is of models in the store, looked at now and then. */
function factsOnDisk(node: Node, clock: Clock): () => Promise<ReadonlyMap<string, Facts>> {
  let known: { readonly until: number; readonly facts: Promise<Map<string, Facts>> } | undefined
  const look = async (): Promise<Map<string, Facts>> => {
    const stored = await storedModels(node.library).catch(() => []) // a disk that can't be read is no reason not to tell
    return new Map(
      stored.map(({ id, bytes, listing }) => [id, { bytes, licence: listing?.licence || undefined }])
    )
  }
  return () => {
    if (known === undefined || clock.now() >= known.until) {
      known = { until: clock.now() + DISK_MS, facts: look() }
    }
    return known.facts
  }
}

/** When the directory changed last, since somebody asked first. */
function lastChange(node: Node, clock: Clock): () => string {
  let at: number | undefined
  return () => {
    if (at === undefined) {
      at = clock.wall()
      node.swarm.directory.onChange(() => {
        at = clock.wall()
      })
    }
    return new Date(at).toISOString()
  }
}
