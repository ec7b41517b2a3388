// What runs beside Shoal's own protocols.
import type { GossipSub } from '@libp2p/gossipsub'
import { type Identify, identify, identifyPush } from '@libp2p/identify'
import type { PeerDiscovery, ServiceMap } from '@libp2p/interface'
import type { KadDHT } from '@libp2p/kad-dht'
import { type Ping, ping } from '@libp2p/ping'
import type { ServiceFactoryMap } from 'libp2p'
import { gossip } from './gossip.ts'
import { kademlia } from './kademlia.ts'
import type { NatOptions } from './types.ts'

export interface Services extends ServiceMap {
  gossip: GossipSub
  identify: Identify
  ping: Ping
  kademlia?: KadDHT
  mdns?: PeerDiscovery
}

export interface ServiceInit {
  kademlia?: boolean | undefined
  mdns?: boolean | undefined
  nat?: NatOptions | undefined
}

const MDNS_TAG = '_shoal._udp.local'
/** Sessions measure their neighbours while the connection's own pings go on. */
const MAX_PING_STREAMS = 8

/** Peers that may be reached through this relay. */
const MAX_RESERVATIONS = 64
/** A conversation's answer or two. Then the session's streams break, and are dialled again. */
const RELAYED_MS = 10 * 60_000
/** 4,000 rows of 8,192 floats: a prompt of some length, or a long answer. */
const RELAYED_BYTES = 128n * 1024n * 1024n

export async function services(
  listen: string[],
  mayDial: (address: string) => boolean,
  { kademlia: hasKademlia, mdns: hasMdns, nat = {} }: ServiceInit
): Promise<ServiceFactoryMap<Services>> {
  const some: ServiceFactoryMap<Services> = {
    identify: identify(),
    identifyPush: identifyPush(),
    ping: ping({ maxInboundStreams: MAX_PING_STREAMS, maxOutboundStreams: MAX_PING_STREAMS }),
    gossip: gossip()
  }
  if (hasKademlia) some.kademlia = await kademlia(listen.length > 0, mayDial)
  if (hasMdns) {
    const { mdns } = await import('@libp2p/mdns')
    some.mdns = mdns({ serviceTag: MDNS_TAG })
  }
  if (nat.relay) {
    const { relay } = await import('./relay.ts')
    const limits = { defaultDurationLimit: RELAYED_MS, defaultDataLimit: RELAYED_BYTES }
    some.relay = relay({ reservations: { maxReservations: MAX_RESERVATIONS, ...limits } })
    const { stun } = await import('./stun.ts')
    some.stun = stun()
  }
  if (nat.useRelays) {
    const { reservations } = await import('./reservations.ts')
    some.reservations = reservations()
  }
  if (nat.webrtc) {
    const { direct } = await import('./direct.ts')
    some.direct = direct()
  }
  if (nat.holePunch) {
    const { dcutr } = await import('@libp2p/dcutr')
    some.holePunch = dcutr()
  }
  if (nat.autonat || nat.upnp) {
    const { autoNATv2 } = await import('@libp2p/autonat-v2')
    some.autonat = autoNATv2()
  }
  if (nat.upnp) {
    const { uPnPNAT } = await import('@libp2p/upnp-nat')
    some.upnp = uPnPNAT({ portMappingDescription: 'Shoal' })
  }
  return some
}
