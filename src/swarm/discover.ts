import type { Coordinate, SessionHost, StageInfo } from '../net/index.ts'

/** Nodes asked at most, however many each of them names. */
const MAX_NODES = 256
/** Nodes that are slow to answer, or name ever more others, don't hold up those that were found. */
const DISCOVER_MS = 15_000

export interface HostedStage {
  readonly peer: string
  readonly addresses: readonly string[]
  readonly stage: StageInfo
  /** Of its node, if it said one. */
  readonly coordinate?: Coordinate | undefined
}

export interface DiscoverOptions {
  readonly signal?: AbortSignal
  /** As soon as a node has answered. */
  readonly onFound?: (peer: string, stages: readonly HostedStage[]) => void
  /** An address or a peer id. */
  readonly onUnreachable?: (node: string, error: Error) => void
}

/**
 * Asks the nodes at `addresses` what they host, and then those that they name. Nodes that can't be reached are
 * reported to `onUnreachable` and left out. Throws the signal's reason.
 */
export async function discover(
  host: Pick<SessionHost, 'connect' | 'info' | 'peerId'>,
  addresses: readonly string[],
  options: DiscoverOptions = {}
): Promise<HostedStage[]> {
  const { onUnreachable, onFound } = options
  const given = options.signal === undefined ? [] : [options.signal]
  const signal = AbortSignal.any([AbortSignal.timeout(DISCOVER_MS), ...given])
  const found: HostedStage[] = []
  const seen = new Set([host.peerId])
  const ask = async (peer: string, known: string[]): Promise<void> => {
    if (seen.has(peer) || seen.size >= MAX_NODES) return
    seen.add(peer)
    try {
      const info = await host.info(peer, known, signal)
      const reachable = info.addresses.length > 0 ? info.addresses : known
      const stages = info.stages.map((stage) => ({ peer, addresses: reachable, stage }))
      found.push(...stages)
      onFound?.(peer, stages)
      await Promise.all(info.peers.map((other) => ask(other.peer, other.addresses)))
    } catch (error) {
      onUnreachable?.(peer, error as Error)
    }
  }
  await Promise.all(
    addresses.map(async (address) => {
      try {
        await ask(await host.connect(address, signal), [address])
      } catch (error) {
        onUnreachable?.(address, error as Error)
      }
    })
  )
  options.signal?.throwIfAborted()
  return found
}
