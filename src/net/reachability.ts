/** Whether others can reach this node, why, and what a person can do about it. */
import { networkInterfaces } from 'node:os'
import { isLoopback, isPrivate, tryGetNetConfig } from '@libp2p/utils'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'

export interface NetworkFacts {
  /** The person has joined a swarm; until then nothing but this machine is dialled. */
  readonly joined: boolean
  /**
   * Multiaddrs that the node gives to others. libp2p lists a public one only when another node has dialled it back
   * (AutoNAT v2), and one through a relay only while the relay has a place reserved for it.
   */
  readonly addresses: readonly string[]
  /** IP addresses of this machine: see `ownAddresses`. */
  readonly interfaces: readonly string[]
  /** The addresses of each node that is connected. */
  readonly peers: readonly (readonly string[])[]
}

export interface Reachability {
  /**
   * `reachable`: others connect to it directly. `relayed`: through a relay, then directly where both routers let them.
   * `blocked`: it connects to others, or tries to, and nobody to it. `local`: it uses nothing beyond this machine.
   */
  readonly status: 'reachable' | 'relayed' | 'blocked' | 'local'
  readonly why: string
  /** What to do about it; absent where nothing has to be done. */
  readonly advice?: string
}

export function judgeReachability(facts: NetworkFacts): Reachability {
  if (!facts.joined) {
    return {
      status: 'local',
      why: 'This node only uses loopback: it has joined no swarm, and dials nothing beyond this machine.',
      advice: 'Join a swarm: "shoal join TOKEN" with an invitation, or "shoal up --public".'
    }
  }
  const own = sort(facts.addresses)
  const [confirmed] = own.public
  if (confirmed !== undefined) {
    const { host = '', port } = tryGetNetConfig(confirmed) ?? {}
    const how = facts.interfaces.includes(host)
      ? 'it is an address of this machine'
      : 'the router passes it on'
    return { status: 'reachable', why: `Another node dialled ${host}, port ${port}, and got here: ${how}.` }
  }
  const [inner] = own.network
  if (own.relay.length > 0) {
    return {
      status: 'relayed',
      why: 'Nobody can dial this node as it is: others reach it through a relay, then directly where both routers let them.',
      advice: `Nothing has to be done. It answers sooner when others can dial it: ${openRouter(inner)}.`
    }
  }
  return inner === undefined ? listensNowhere() : withoutRelay(inner, facts.peers)
}

export interface PeerReachability {
  /** `unknown`: it says nothing that tells. */
  readonly status: 'direct' | 'relayed' | 'unknown'
  /** Absent where nothing is to be said. */
  readonly why?: string
}

/** How others reach a node, by the addresses that it gives. */
export function judgePeer(addresses: readonly string[]): PeerReachability {
  const { public: open, network, machine, relay } = sort(addresses)
  if (open.length > 0) return { status: 'direct' }
  if (relay.length > 0) {
    return { status: 'relayed', why: 'nobody can dial it: others reach it through a relay' }
  }
  if (network.length > 0) return { status: 'direct', why: 'within its own network only' }
  if (machine.length > 0) return { status: 'direct', why: 'on its own machine only' }
  return { status: 'unknown', why: 'it gives no addresses: it connects to others' }
}

function listensNowhere(): Reachability {
  return {
    status: 'local',
    why: 'This node listens on this machine only, and on no relay: nobody else can dial it.',
    advice: 'Start it with "shoal up --listen /ip4/0.0.0.0/tcp/8643".'
  }
}

function withoutRelay(inner: Multiaddr, peers: NetworkFacts['peers']): Reachability {
  if (peers.length === 0) {
    return {
      status: 'blocked',
      why: 'No other node has answered.',
      advice:
        'Check that this machine is online, that a firewall lets it connect to others, and that the addresses of ' +
        'the others, or the invitation, are up to date.'
    }
  }
  const others = peers.map(sort)
  if (others.every((each) => each.public.length === 0 && each.relay.length === 0)) {
    const { host, port } = tryGetNetConfig(inner) ?? {}
    return {
      status: 'reachable',
      why: `All nodes that it knows are on its own network, at ${host}, port ${port}.`
    }
  }
  return {
    status: 'blocked',
    why: 'A router or a firewall lets nobody in, and no node that it knows has a place as a relay.',
    advice: `Open a way in: ${openRouter(inner)}. Or run one node of the swarm at a public address: it relays.`
  }
}

function openRouter(inner: Multiaddr | undefined): string {
  const port = inner === undefined ? undefined : tryGetNetConfig(inner)?.port
  return `turn on UPnP in the router, or forward TCP port ${port ?? 8643} to this machine`
}

/** The IP addresses of this machine's interfaces. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((each) => each?.map(({ address }) => address) ?? [])
}

/** By where they lead. What is no address of a kind that we know is left out. */
function sort(addresses: readonly string[]): Record<'machine' | 'network' | 'public' | 'relay', Multiaddr[]> {
  const sorted = { machine: [], network: [], public: [], relay: [] } as ReturnType<typeof sort>
  for (const address of addresses) {
    try {
      const parsed = multiaddr(address)
      if (address.includes('/p2p-circuit')) sorted.relay.push(parsed)
      else if (tryGetNetConfig(parsed) === null) continue
      else if (isLoopback(parsed)) sorted.machine.push(parsed)
      else sorted[isPrivate(parsed) ? 'network' : 'public'].push(parsed)
    } catch {
      // What newer nodes have.
    }
  }
  return sorted
}
