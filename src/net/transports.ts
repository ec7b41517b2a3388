// How bytes travel, by what a node needs. What only some nodes need is loaded by them only.
import { tcp } from '@libp2p/tcp'
import type { Libp2pOptions } from 'libp2p'
import { tunedTransport } from './latency.ts'
import type { NatOptions } from './types.ts'

type Transports = NonNullable<Libp2pOptions['transports']>

/** Connections that come through one relay, so that a relay cannot fill all places. */
const MAX_RELAYED_INBOUND = 32
/** js-libp2p would ask servers of big companies where none are named. */
const NO_ICE_SERVERS = { iceServers: [] }

export async function transports(
  listen: string[],
  isPrivate: boolean,
  nat?: NatOptions
): Promise<Transports> {
  const some: Transports = [tunedTransport(tcp())]
  if (nat !== undefined || listen.some((address) => /\/wss?(\/|$)/.test(address))) {
    const { webSockets } = await import('@libp2p/websockets')
    some.push(webSockets())
  }
  if (nat === undefined) return some
  const { circuitRelayTransport } = await import('@libp2p/circuit-relay-v2')
  some.push(withoutWalk(circuitRelayTransport({ maxInboundStopStreams: MAX_RELAYED_INBOUND })))
  if (nat.webrtc) {
    const { webRtcPipes } = await import('./webrtc.ts')
    const { webRTCDirect } = await import('@libp2p/webrtc')
    some.push(webRtcPipes())
    // It would let in who does not have the pre-shared key. The other kind begins on a connection that had it.
    if (!isPrivate) some.push(webRTCDirect({ rtcConfiguration: NO_ICE_SERVERS }))
  }
  return some
}

/**
 * Relays are found among the connected peers. libp2p would also walk through Kademlia at random, without a pause
 * between queries: while its routing table is empty, that takes a core and starves all else.
 */
function withoutWalk<C extends object, T>(transport: (components: C) => T): (components: C) => T {
  const randomWalk = { async *walk() {} }
  return (components) => transport(Object.create(components, { randomWalk: { value: randomWalk } }) as C)
}

/** What to listen on besides what the user said. Relayed connections become WebRTC by themselves: see direct.ts. */
export function natListen(nat: NatOptions = {}): string[] {
  return nat.useRelays ? ['/p2p-circuit'] : []
}
