// Which addresses a node may dial.

/** Addresses of this machine only: what a node dials before anybody joined a swarm. */
export function isLoopback(address: string): boolean {
  return /^\/(ip4\/127(\.\d{1,3}){3}|ip6\/::1)\/tcp\/\d+(\/p2p\/\w+)?$/.test(address)
}
