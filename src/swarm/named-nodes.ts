import { aborted } from '../common/index.ts'
import type { SessionHost } from '../net/index.ts'
import { discover, type HostedStage } from './discover.ts'

export interface NamedNodesInit {
  /** Nodes to ask; they name others. */
  readonly addresses: readonly string[]
  readonly onUnreachable?: (node: string, error: Error) => void
}

/** What nodes named by address host, and those that they name: for who has joined no swarm. */
export class NamedNodes {
  readonly #host: SessionHost
  readonly #init: NamedNodesInit
  readonly #byPeer = new Map<string, readonly HostedStage[]>()
  #refreshing: Promise<void> | undefined

  constructor({ host }: { host: SessionHost }, init: NamedNodesInit) {
    this.#host = host
    this.#init = init
  }

  /** As of what is known now. */
  get stages(): HostedStage[] {
    return [...this.#byPeer.values()].flat()
  }

  /**
   * Asks everybody again; what somebody says is known at once. One round of questions serves all who call meanwhile.
   * Throws the signal's reason; the round goes on.
   */
  async refresh(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    await (signal === undefined ? this.#refreshing : Promise.race([this.#refreshing, aborted(signal)]))
    signal?.throwIfAborted()
  }

  async #refresh(): Promise<void> {
    const { addresses, onUnreachable } = this.#init
    const found = new Set<string>()
    await discover(this.#host, addresses, {
      ...(onUnreachable === undefined ? {} : { onUnreachable }),
      onFound: (peer, stages) => {
        found.add(peer)
        this.#byPeer.set(peer, stages)
      }
    })
    for (const peer of this.#byPeer.keys()) if (!found.has(peer)) this.#byPeer.delete(peer)
  }
}
