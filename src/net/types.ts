import type { Clock, Startable } from '../common/index.ts'
import type {
  Accepted,
  ControlMessage,
  Frame,
  FrameLimits,
  Info,
  PeerAddress,
  PieceChunk,
  PieceMessage,
  SwarmAnswer,
  SwarmRequest
} from './wire/types.ts'

/**
 * Called from the socket's own read event, with no queue between: what it does delays the connection.
 * If it throws, the stream is aborted with that error.
 */
export interface Listener<T> {
  receive(value: T): void
  /**
   * Called exactly once, last, also for a local close or abort. No error: the other side closed in good
   * order. An error: a reset, a lost connection, a `WireError` for what the peer sent, or our own abort.
   */
  end(error?: Error): void
}

/** One session's messages between the consumer and one stage, in both directions. */
export interface ControlStream {
  readonly peer: string
  /** Begin to receive; nothing that came before is lost (up to the read buffer). To be called once. */
  start(listener: Listener<ControlMessage>): void
  /** False when the stream has ended (the listener hears why). Throws `WireError` for an invalid message. */
  send(message: ControlMessage): boolean
  /** Send what is queued, then end both ways. Never rejects. */
  close(): Promise<void>
  /** Reset at once: the other side's listener hears of it. */
  abort(error: Error): void
  /** Resolves, never rejects: with the error if there was one. */
  readonly closed: Promise<Error | undefined>
}

/** The sending end of a data stream: frames to the next hop. */
export interface DataSender {
  readonly peer: string
  /** What the other side had, and takes, when it accepted the ticket. */
  readonly accepted: Accepted
  /**
   * Written before it returns. Resolves when the stream can take more (back-pressure); rejects with
   * `NetError` CLOSED when the stream has ended or ends while waiting. Need not be awaited or caught. Ids and payload
   * are not copied, and this node itself gets them as they are: leave them so for good.
   */
  send(frame: Frame): Promise<void>
  close(): Promise<void>
  abort(error: Error): void
  readonly closed: Promise<Error | undefined>
  readonly bytesSent: number
}

/** The receiving end of a data stream: frames from the hop before. */
export interface DataReceiver {
  readonly peer: string
  /** Begin to receive. To be called once, in or after `data()`. A frame beyond the limits aborts the stream. */
  start(limits: FrameLimits, listener: Listener<Frame>): void
  /** Stop receiving (a frame already in hand may still come); the sender's `send` stops resolving. */
  pause(): void
  resume(): void
  abort(error: Error): void
  readonly closed: Promise<Error | undefined>
  readonly bytesReceived: number
}

/** Pieces of one model, in both directions. */
export interface PieceStream {
  readonly peer: string
  /** Begin to receive. To be called once. */
  start(listener: Listener<PieceMessage | PieceChunk>): void
  /** False when the stream has ended (the listener hears why). Throws `WireError` for an invalid message. */
  send(message: PieceMessage): boolean
  /**
   * Written before it returns, and not copied. Resolves when the stream can take more (back-pressure); rejects with
   * `NetError` CLOSED when it has ended. At most MAX_CHUNK_BYTES in all; small ones together cost less than one by one.
   */
  sendChunks(chunks: readonly PieceChunk[]): Promise<void>
  close(): Promise<void>
  abort(error: Error): void
  readonly closed: Promise<Error | undefined>
  /** Messages included. */
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** What a provider answers with. Exceptions thrown by these reset the stream. */
export interface Handlers {
  info(): Info
  /** A consumer opened a control stream: call `start` on it, or abort it. */
  control(stream: ControlStream): void
  /** A hop presents a ticket: what to accept it with, or undefined to reset. Call `stream.start` before or after. */
  data(ticket: Uint8Array, stream: DataReceiver): Accepted | undefined | Promise<Accepted | undefined>
  /** A peer asks for the directory, for load, or for another of the swarm's matters. Absent: refused. */
  ask?(peer: string, request: SwarmRequest): SwarmAnswer | Promise<SwarmAnswer>
  /** A peer opened a piece stream: call `start` on it, or abort it. Absent: refused. */
  pieces?(stream: PieceStream): void
}

/**
 * What becomes of a gossip message: `accept` passes it on, `ignore` does not, `reject` does not, and counts against
 * the peer that it came from.
 */
export type Verdict = 'accept' | 'ignore' | 'reject'

/** Judges a message before it is passed on; `from` is the neighbour that it came from, not its author. */
export type Judge = (message: Uint8Array, from: string) => Verdict | Promise<Verdict>

/** What sessions need of a host. */
export interface SessionHost extends Startable {
  readonly peerId: string
  /** Where it listens, each with /p2p/<id>; empty until started. */
  readonly addresses: string[]
  /** Dial one address (it may end in /p2p/<id>); gives the peer id that answered. */
  connect(address: string, signal?: AbortSignal): Promise<string>
  info(peer: string, addresses: string[], signal?: AbortSignal): Promise<Info>
  /**
   * A new control stream. Uses an open connection to the peer, else dials the addresses. A node that names itself
   * reaches its own handlers, without a connection; so do `openData`, `info` and `ask`.
   */
  openControl(peer: string, addresses: string[], signal?: AbortSignal): Promise<ControlStream>
  /** A new data stream; resolves when the other side has accepted the ticket. */
  openData(peer: string, addresses: string[], ticket: Uint8Array, signal?: AbortSignal): Promise<DataSender>
  /** Answer others. To be called once, before or after `start`. */
  serve(handlers: Handlers): void
  /** Peers with an open connection. */
  readonly peers: string[]
  /** Called when the last connection to a peer is gone. Returns how to stop listening. */
  onDisconnect(listener: (peer: string) => void): () => void
}

/** A peer that was come across: on the local network, by mDNS, or anywhere, by Kademlia. */
export interface Discovered extends PeerAddress {
  readonly isNear: boolean
}

/** What a swarm needs of a host. */
export interface SwarmHost {
  /** Called when the first connection to a peer is there and identified. Returns how to stop listening. */
  onConnect(listener: (peer: string) => void): () => void
  /** Called for peers that mDNS or Kademlia came across, maybe again and again; there is no connection to them. */
  onDiscovered(listener: (peer: Discovered) => void): () => void

  /** 64 bytes, Ed25519, by this node's key. */
  sign(bytes: Uint8Array): Promise<Uint8Array>

  /** Take part in spreading a topic's messages. Returns how to stop. One judge per topic. */
  subscribe(topic: string, judge: Judge): () => void
  /** To all who subscribe, as far as they are reached; need not be subscribed oneself. Never rejects for want of peers. */
  publish(topic: string, message: Uint8Array): Promise<void>

  /** One request of the swarm's protocol, one answer. Throws `NetError`, `WireError`, or the signal's reason. */
  ask(peer: string, addresses: string[], request: SwarmRequest, signal?: AbortSignal): Promise<SwarmAnswer>

  /**
   * Say in Kademlia that this node hosts blocks of the model (its id). Resolves also where nobody could be told; who
   * comes later is not told, so say it again now and then.
   */
  provide(model: string, signal?: AbortSignal): Promise<void>
  /** Who said so. Ends when the signal fires. */
  findProviders(model: string, signal?: AbortSignal): AsyncIterable<PeerAddress>

  /** Round trip to a connected peer in milliseconds, measured now. Throws `NetError` when it is not connected. */
  ping(peer: string, signal?: AbortSignal): Promise<number>
  /** Ends all connections to a peer, and refuses new ones both ways for `ms`. */
  cut(peer: string, reason: string, ms: number): void
  /** Addresses of a peer that are known here, most useful first; from its connections, and what it said itself. */
  addressesOf(peer: string): string[]
}

/** What exchanging pieces needs of a host. */
export interface PieceHost {
  readonly peerId: string
  /** A new stream for pieces. Uses an open connection to the peer, else dials the addresses. */
  openPieces(peer: string, addresses: string[], signal?: AbortSignal): Promise<PieceStream>
}

export interface Host extends SessionHost, SwarmHost, PieceHost {
  /** How new streams to a peer go: directly or through a relay. Undefined: it is not connected. */
  wayTo(peer: string): 'direct' | 'relay' | undefined
}

export type HostIdentity =
  /** An Ed25519 key in this file (mode 0600), created when missing. */
  | { keyPath: string }
  /** An Ed25519 private key, as libp2p's protobuf bytes. */
  | { privateKey: Uint8Array }
  /** A new identity that is not kept, for tests and throwaway nodes. */
  | { ephemeral: true }

/** The four levels that pino and the console share. */
export interface HostLogger {
  debug(message: string): void
  info(message: string): void
  warn(message: string): void
  error(message: string): void
}

/** Peer ids to have connections with, both ways. */
export interface PeerLists {
  /** Only these, where given; relays included. */
  allow?: ReadonlySet<string>
  block?: ReadonlySet<string>
}

/** Ways through routers. All off by default. Given at all: WebSockets, and connections through others' relays. */
export interface NatOptions {
  /** Serve others as a relay, within quotas. */
  relay?: boolean
  /** Be reached through relays: one is looked for among the connected peers. */
  useRelays?: boolean
  /**
   * Direct connections between nodes that only a relay can reach, and listening on /udp/../webrtc-direct. The first
   * kind asks no dial gate: it tries whatever addresses the other side names.
   */
  webrtc?: boolean
  /** Ask the router to open a port; others are asked whether it did, so this brings `autonat`. */
  upnp?: boolean
  /** DCUtR: dial each other at the same time, told by a relayed connection. */
  holePunch?: boolean
  /** Ask others whether they can dial this node, and answer them. */
  autonat?: boolean
}

export interface HostInit {
  identity: HostIdentity
  /** Multiaddrs, such as /ip4/127.0.0.1/tcp/0. Empty: does not listen. */
  listen: string[]
  /** Asked before every dial, also of addresses that peers name. By default loopback addresses only. */
  dialGate?: (address: string) => boolean
  gate?: PeerLists
  /** 32 bytes. Only who has the same completes a handshake; WebRTC Direct, which knows none, is off then. */
  preSharedKey?: Uint8Array
  /** Take part in Kademlia; answer others if this node listens. */
  kademlia?: boolean
  /** Look for peers on the local network, and be found there. */
  mdns?: boolean
  nat?: NatOptions
  logger?: HostLogger
  clock?: Clock
}
