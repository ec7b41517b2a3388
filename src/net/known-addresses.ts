// Where peers can be reached, as far as they have said themselves.
import type { Multiaddr } from '@multiformats/multiaddr'
import { MAX_ADDRESSES } from './wire/limits.ts'

/** The least recently heard of are forgotten beyond this: some 2 MB. */
const MAX_PEERS = 1_024

export class KnownAddresses {
  /** In order of hearing, the latest last. */
  readonly #said = new Map<string, string[]>()

  hear(peer: string, addresses: Multiaddr[]): void {
    this.#said.delete(peer)
    this.#said.set(peer, addresses.slice(0, MAX_ADDRESSES).map(String))
    if (this.#said.size > MAX_PEERS) this.#said.delete(this.#said.keys().next().value as string)
  }

  of(peer: string): string[] {
    return this.#said.get(peer) ?? []
  }
}
