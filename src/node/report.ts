/** What a node says of itself to the pages of its own machine. */
import { statfs } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { VERSION } from '../common/index.ts'
import type { NodeReport, SharingReport, StoredModelReport, SwarmMembership } from '../gateway/index.ts'
import { judgeReachability, ownAddresses } from '../net/index.ts'
import { canTellIdle, hasBattery, type OBSTACLES } from './availability.ts'
import type { Node } from './node.ts'
import { defaultMemoryBytes } from './sharing.ts'
import { type StoredEntry, storedModels } from './stored-models.ts'
import { readSwarmFile } from './swarm-file.ts'

/** Free memory and disk change all the time: what is told of them does so rarely. */
const STEP_BYTES = 256 * 1024 * 1024

export const BY_PERSON = 'person'

export function sharingReport(node: Node, hasSaidYes: boolean): SharingReport {
  const { sharing } = node
  const { placement, sessions } = node.facts
  const [pausedBy, reason] = sharing.state === 'paused' ? ([...sharing.pauses][0] ?? []) : []
  return {
    ...{ state: sharing.state, hasSaidYes, isTold: sharing.isTold, placement, sessions, reason },
    pausedBy:
      pausedBy === BY_PERSON || pausedBy === undefined ? pausedBy : (pausedBy as keyof typeof OBSTACLES),
    hosting: [sharing.loading ?? sharing.stage?.info].flatMap((stage) => {
      if (stage === undefined) return []
      const { model, name, start, end, blockCount, state = 'ready' } = stage
      return [{ model, name, start, end, blockCount, state }]
    })
  }
}

export function networkReport(node: Node): NodeReport['network'] {
  const { host } = node
  const { swarm, join: steps } = node.facts
  const { addresses, peers } = host
  const {
    status: reachability,
    why,
    advice
  } = judgeReachability({
    ...{ joined: swarm.kind !== 'local', addresses, interfaces: ownAddresses() },
    peers: peers.map((peer) => host.addressesOf(peer))
  })
  return { addresses, peers: peers.length, reachability, why, advice, steps }
}

/** `folder`: of the models. */
export async function machineReport(folder: string): Promise<NodeReport['machine']> {
  const disk = await statfs(folder).catch(() => undefined) // it is made when it is needed
  return {
    ...{ cores: availableParallelism(), memoryBytes: totalmem() },
    memoryFreeBytes: inSteps(process.availableMemory()),
    diskFreeBytes: disk === undefined ? undefined : inSteps(disk.bavail * disk.bsize),
    ...{
      hasBattery: hasBattery(),
      canTellIdle: canTellIdle(),
      defaultMemoryBytes: inSteps(defaultMemoryBytes())
    }
  }
}

function inSteps(bytes: number): number {
  return Math.floor(bytes / STEP_BYTES) * STEP_BYTES
}

export function versions(): NodeReport['versions'] {
  return { shoal: VERSION, node: process.versions.node, platform: `${process.platform} ${process.arch}` }
}

export async function modelReports(node: Node): Promise<StoredModelReport[]> {
  return (await storedModels(node.library)).map((entry) => modelReport(node, entry))
}

function modelReport(node: Node, entry: StoredEntry): StoredModelReport {
  const { library, sharing, pulls, contributed } = node
  const { id, called: name, names, listing, lastUsed, isHashed, bytesThere, ...summary } = entry
  const { architecture, blockCount, blocks, bytes, pieces, piecesThere, bar } = summary
  const bytesSent = contributed.bytesSentOf(id)
  return {
    ...{ id, name, names, architecture, blockCount, blocks, bytes, bytesThere, pieces, piecesThere, bar },
    licence: listing?.licence || undefined,
    lastUsed: lastUsed === undefined ? undefined : new Date(lastUsed).toISOString(),
    isHosted: [sharing.stage?.info.model, sharing.loading?.model].includes(id),
    isPulled: pulls.isFetching(id),
    ...{ isSeeded: isHashed && !library.withheld.has(id), isHashed, bytesSent },
    ratio: bytesThere === 0 ? 0 : bytesSent / bytesThere,
    peers: library.exchange.peersOf(id).length
  }
}

/** What the node takes part in, and from its next start on. */
export async function swarmReport(node: Node, folder: string): Promise<NodeReport['swarm']> {
  const { swarm } = node.facts
  const file = await readSwarmFile(folder)
  const next: SwarmMembership = { kind: file.kind, ...(file.kind === 'private' && { name: file.name }) }
  const isSame = next.kind === swarm.kind && next.name === swarm.name
  return {
    ...swarm,
    isFounder: isSame && file.kind === 'private' && file.founder === node.host.peerId,
    next: isSame ? undefined : next
  }
}
