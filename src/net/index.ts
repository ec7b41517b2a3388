/**
 * Connections between nodes: a libp2p host, and Shoal's protocols on it. Messages are checked when they come
 * in; everything handed out is plain typed data.
 *
 * @example
 * ```ts
 * const host = createHost({ identity: { keyPath }, listen: ['/ip4/127.0.0.1/tcp/0'] })
 * host.serve({ info, control, data })
 * await host.start()
 * const control = await host.openControl(peer, addresses)
 * control.start({ receive: (message) => ..., end: (error) => ... })
 * control.send({ type: 'ping', nonce: 1 })
 * ```
 *
 * @packageDocumentation
 */
export { type DialScope, dialScope } from './dial-gate.ts'
export { NetError, type NetErrorCode } from './errors.ts'
export { createHost } from './host.ts'
export { verify } from './identity.ts'
export { judgePeer, judgeReachability, ownAddresses, type Reachability } from './reachability.ts'
export type {
  ControlStream,
  DataReceiver,
  DataSender,
  Discovered,
  Handlers,
  Host,
  HostIdentity,
  HostInit,
  HostLogger,
  Judge,
  Listener,
  NatOptions,
  PeerLists,
  PieceHost,
  PieceStream,
  SessionHost,
  SwarmHost,
  Verdict
} from './types.ts'
export { bytesPerRow, decodeRows, encodeRows, ROW_CODECS, speaks } from './wire/codec.ts'
export { WireError, type WireErrorCode } from './wire/errors.ts'
export { encodedLength } from './wire/frame.ts'
export { MAX_CHUNK_BYTES, MAX_CHUNKED_BYTES, MAX_PIECE_INDICES } from './wire/limits.ts'
export { announcements, gossip, summaries, withdrawals } from './wire/messages.ts'
export * from './wire/types.ts'
