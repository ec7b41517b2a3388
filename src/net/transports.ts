// How bytes travel, by what a node needs. What only some nodes need is loaded by them only.
import { tcp } from '@libp2p/tcp'
import type { Libp2pOptions } from 'libp2p'
import { tunedTransport } from './latency.ts'
import type { NatOptions } from './types.ts'

type Transports = NonNullable<Libp2pOptions['transports']>

/** Connections that come through one relay, so that a relay cannot fill all places. */
const MAX_RELAYED_INBOUND = 32
/** One would do; some may be gone. */
const MAX_STUN_SERVERS = 4

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
  some.push(circuitRelayTransport({ maxInboundStopStreams: MAX_RELAYED_INBOUND }))
  if (nat.webrtc) {
    const { webRTC, webRTCDirect } = await import('@libp2p/webrtc')
    // js-libp2p would ask servers of big companies where none are named.
    const stunServers = () => (nat.stunServers?.() ?? []).slice(0, MAX_STUN_SERVERS)
    some.push(webRTC({ rtcConfiguration: () => ({ iceServers: stunServers().map((urls) => ({ urls })) }) }))
    // It would let in who does not have the pre-shared key. The other kind begins on a connection that had it.
    if (!isPrivate) some.push(webRTCDirect({ rtcConfiguration: { iceServers: [] } }))
  }
  return some
}

/** What to listen on besides what the user said. */
export function natListen(nat: NatOptions = {}): string[] {
  if (!nat.useRelays) return []
  return nat.webrtc ? ['/p2p-circuit', '/webrtc'] : ['/p2p-circuit']
}
