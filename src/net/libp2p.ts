// How Shoal sets up libp2p: what it speaks, and every bound.
import type { ConnectionGater, PrivateKey } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { isLoopback } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import type { Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2p, type Libp2pOptions } from 'libp2p'
import { tunedMuxer } from './latency.ts'
import { noiseCrypto } from './noise-crypto.ts'
import { offeringMuxer } from './offer.ts'
import { SHOAL_PROTOCOLS } from './protocols.ts'
import { type ServiceInit, type Services, services } from './services.ts'
import { natListen, transports } from './transports.ts'

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
const PRE_SHARED_KEY_BYTES = 32

export type Libp2pNode = Libp2p<Services>

export interface Libp2pSetup extends ServiceInit {
  privateKey: PrivateKey
  listen: string[]
  mayDial: (address: string) => boolean
  gater?: ConnectionGater
  preSharedKey?: Uint8Array | undefined
}

/** Not started yet. */
export async function createNode(setup: Libp2pSetup): Promise<Libp2pNode> {
  const { privateKey, listen, mayDial, gater, preSharedKey, nat } = setup
  return createLibp2p<Services>({
    start: false,
    privateKey,
    addresses: { listen: [...listen, ...natListen(nat)], announceFilter: withoutLoopback },
    ...(preSharedKey === undefined ? {} : await protector(preSharedKey)),
    transports: await transports(listen, preSharedKey !== undefined, nat),
    connectionEncrypters: [noise({ crypto: noiseCrypto })],
    streamMuxers: [
      offeringMuxer(
        SHOAL_PROTOCOLS,
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
      )
    ],
    services: await services(listen, mayDial, setup),
    connectionGater: gater ?? { denyDialMultiaddr: (address) => !mayDial(address.toString()) },
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

/** Unless there is nothing else: others would dial themselves, and there are more useful addresses than a few. */
function withoutLoopback(addresses: Multiaddr[]): Multiaddr[] {
  const beyond = addresses.filter((address) => !isLoopback(address))
  return beyond.length > 0 ? beyond : addresses
}

/** What a peer that speaks none of Shoal's protocols has. */
export async function startLibp2p(
  privateKey: PrivateKey,
  listen: string[],
  mayDial: (address: string) => boolean
): Promise<Libp2pNode> {
  const libp2p = await createNode({ privateKey, listen, mayDial })
  await libp2p.start()
  return libp2p
}

async function protector(key: Uint8Array): Promise<Pick<Libp2pOptions, 'connectionProtector'>> {
  if (key.byteLength !== PRE_SHARED_KEY_BYTES) {
    throw new RangeError(`a pre-shared key of ${key.byteLength} bytes: must be ${PRE_SHARED_KEY_BYTES}`)
  }
  const { preSharedKey } = await import('@libp2p/pnet')
  const file = `/key/swarm/psk/1.0.0/\n/base16/\n${Buffer.from(key).toString('hex')}`
  return { connectionProtector: preSharedKey({ psk: Buffer.from(file) }) }
}
