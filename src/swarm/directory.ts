import type { Host } from '../net/index.ts'
import { discover, type HostedStage } from './discover.ts'

export interface DirectoryInit {
  /** Nodes to ask; they name others. */
  readonly addresses: readonly string[]
  readonly onUnreachable?: (node: string, error: Error) => void
}

/** What a node knows about who hosts which span. */
export class Directory {
  readonly #host: Host
  readonly #init: DirectoryInit
  readonly #byPeer = new Map<string, readonly HostedStage[]>()
  #refreshing: Promise<void> | undefined

  constructor({ host }: { host: Host }, init: DirectoryInit) {
    this.#host = host
    this.#init = init
  }

  /** As of what is known now. */
  get stages(): HostedStage[] {
    return [...this.#byPeer.values()].flat()
  }

  /** Asks everybody again; what somebody says is known at once. Throws the signal's reason. */
  refresh(signal?: AbortSignal): Promise<void> {
    this.#refreshing ??= this.#refresh(signal).finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #refresh(signal: AbortSignal | undefined): Promise<void> {
    const { addresses, onUnreachable } = this.#init
    const found = new Set<string>()
    await discover(this.#host, addresses, {
      ...(signal === undefined ? {} : { signal }),
      ...(onUnreachable === undefined ? {} : { onUnreachable }),
      onFound: (peer, stages) => {
        found.add(peer)
        this.#byPeer.set(peer, stages)
      }
    })
    for (const peer of this.#byPeer.keys()) if (!found.has(peer)) this.#byPeer.delete(peer)
  }
}
