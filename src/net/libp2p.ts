// How Shoal sets up libp2p: what it speaks, and every bound.
import { identify } from '@libp2p/identify'
import type { PrivateKey } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2p } from 'libp2p'
import { tunedMuxer, tunedTransport } from './latency.ts'
import { noiseCrypto } from './noise-crypto.ts'

/** Connections at once: some 64 KB of buffers each. */
const MAX_CONNECTIONS = 256
/** New connections per second from one address: a swarm on one machine, or behind one router, starts at once. */
const INBOUND_CONNECTIONS_PER_SECOND = 64
/** Connections that have not finished their handshake. */
const MAX_PENDING_CONNECTIONS = 64
/** To connect, secure and agree on a protocol, each. */
export const HANDSHAKE_TIMEOUT_MS = 10_000
/** Sessions that one consumer may have on one stage at once. */
export const MAX_SESSION_STREAMS = 256
/** All streams of a connection: control and data of each session, and the rest. */
const MAX_STREAMS = 2 * MAX_SESSION_STREAMS + 64
export const MAX_DIAL_ADDRESSES = 16
/** A peer whose machine vanished sends no reset: pings notice. Sessions have heartbeats of their own. */
const PING_INTERVAL_MS = 10_000
const PING_TIMEOUT_MS = 15_000
/** A stream's window and read buffer: 8 MiB per round trip is 80 MB/s at 100 ms, and holds a prefill chunk. */
const STREAM_WINDOW_BYTES = 8 * 1024 * 1024
/** Shoal's streams may be silent for as long as a person thinks; pings notice dead connections. */
const NO_TIMEOUT_MS = 2 ** 31 - 1

export function startLibp2p(
  privateKey: PrivateKey,
  listen: string[],
  mayDial: (address: string) => boolean
): Promise<Libp2p> {
  return createLibp2p({
    privateKey,
    addresses: { listen },
    transports: [tunedTransport(tcp())],
    connectionEncrypters: [noise({ crypto: noiseCrypto })],
    streamMuxers: [
      tunedMuxer(
        STREAM_WINDOW_BYTES,
        yamux({
          maxInboundStreams: MAX_STREAMS,
          maxOutboundStreams: MAX_STREAMS,
          maxEarlyStreams: MAX_STREAMS, // many sessions may open at once on a connection that is just made
          streamOptions: {
            maxStreamWindowSize: STREAM_WINDOW_BYTES,
            maxReadBufferLength: STREAM_WINDOW_BYTES,
            inactivityTimeout: NO_TIMEOUT_MS
          }
        })
      )
    ],
    services: { identify: identify(), ping: ping() },
    connectionGater: { denyDialMultiaddr: (address) => !mayDial(address.toString()) },
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      inboundConnectionThreshold: INBOUND_CONNECTIONS_PER_SECOND,
      maxIncomingPendingConnections: MAX_PENDING_CONNECTIONS,
      maxPeerAddrsToDial: MAX_DIAL_ADDRESSES,
      dialTimeout: HANDSHAKE_TIMEOUT_MS,
      inboundUpgradeTimeout: HANDSHAKE_TIMEOUT_MS,
      inboundStreamProtocolNegotiationTimeout: HANDSHAKE_TIMEOUT_MS,
      outboundStreamProtocolNegotiationTimeout: HANDSHAKE_TIMEOUT_MS
    },
    connectionMonitor: { pingInterval: PING_INTERVAL_MS, pingTimeout: { minTimeout: PING_TIMEOUT_MS } }
  })
}
