/**
 * WebRTC between nodes that only a relay can reach. libp2p's transport agrees on the peer connection, through the
 * relay; here it is made a plain pipe that carries the same muxer as TCP, since libp2p's own muxer for data channels
 * has no back-pressure: a stage that is slower than the one before it would have its streams reset.
 */
import type {
  Connection,
  MultiaddrConnection,
  Stream,
  StreamMuxer,
  Transport,
  Upgrader,
  UpgraderWithoutEncryptionOptions
} from '@libp2p/interface'
import { AbstractMultiaddrConnection } from '@libp2p/utils'
import { type WebRTCTransportComponents, webRTC } from '@libp2p/webrtc'
import type { Uint8ArrayList } from 'uint8arraylist'
import { NetError } from './errors.ts'
import { stunServers } from './stun.ts'

/** libp2p's default is 16 KiB, for implementations that take no more; ours are the only ones that speak this. */
const MAX_MESSAGE_BYTES = 64 * 1024

type Options = UpgraderWithoutEncryptionOptions

/** libp2p's connection around an RTCPeerConnection. */
interface PeerConnection extends MultiaddrConnection {
  peerConnection: { connectionState: string }
}

export function webRtcPipes(): (components: WebRTCTransportComponents) => Transport {
  return (components) => {
    const { connectionManager } = components
    const transport = webRTC({
      // Those whom we are connected with tell us how we look from outside; nobody else is asked.
      rtcConfiguration: () => ({ iceServers: stunServers(connectionManager.getConnections()) }),
      dataChannel: { maxMessageSize: MAX_MESSAGE_BYTES }
    })(Object.create(components, { upgrader: { value: pipeUpgrader(components.upgrader) } }))
    const dial = transport.dial.bind(transport)
    transport.dial = (address, options) =>
      dial(address, { ...options, upgrader: pipeUpgrader(options.upgrader) })
    return transport
  }
}

function pipeUpgrader(upgrader: Upgrader): Upgrader {
  const upgradeOutbound = async (channels: MultiaddrConnection, options: Options): Promise<Connection> => {
    const muxer = muxerOf(channels, options)
    const stream = await muxer.createStream({ signal: options.signal })
    return upgrader.upgradeOutbound(new Pipe(stream, channels), withoutMuxer(options))
  }
  const upgradeInbound = async (channels: MultiaddrConnection, options: Options): Promise<void> => {
    // When the other side gives up, libp2p upgrades what has never been connected; it would stay for a while.
    if ((channels as PeerConnection).peerConnection.connectionState !== 'connected') {
      throw new NetError('DIAL_FAILED', 'the other side gave up on a direct connection')
    }
    const stream = await firstStream(muxerOf(channels, options), options.signal)
    return upgrader.upgradeInbound(new Pipe(stream, channels), withoutMuxer(options))
  }
  return Object.assign(Object.create(upgrader), { upgradeInbound, upgradeOutbound })
}

function muxerOf(channels: MultiaddrConnection, { muxerFactory }: Options): StreamMuxer {
  if (muxerFactory === undefined) throw new Error('libp2p has no muxer for data channels any more')
  return muxerFactory.createStreamMuxer(channels)
}

function withoutMuxer({ muxerFactory: _, ...options }: Options): Options {
  return options
}

function firstStream(muxer: StreamMuxer, signal: AbortSignal): Promise<Stream> {
  const { promise, resolve, reject } = Promise.withResolvers<Stream>()
  const abort = (): void => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  muxer.addEventListener('stream', ({ detail }) => resolve(detail), { once: true })
  return promise.finally(() => signal.removeEventListener('abort', abort))
}

/** A data channel as a connection; they end together. */
class Pipe extends AbstractMultiaddrConnection {
  readonly #stream: Stream
  readonly #channels: MultiaddrConnection

  constructor(stream: Stream, channels: MultiaddrConnection) {
    const { remoteAddr, log } = channels
    super({ remoteAddr, log, direction: stream.direction })
    this.#stream = stream
    this.#channels = channels
    stream.addEventListener('message', ({ data }) => this.onData(data))
    stream.addEventListener('drain', () => this.safeDispatchEvent('drain'))
    // Not while somebody writes: a muxer does not expect that, since sockets don't do it.
    stream.addEventListener('close', ({ error }) => queueMicrotask(() => this.onTransportClosed(error)))
    this.addEventListener('close', () => void channels.close().catch(() => {}), { once: true })
  }

  sendData(data: Uint8ArrayList): { sentBytes: number; canSendMore: boolean } {
    const canSendMore = this.#stream.writeStatus !== 'writable' || this.#stream.send(data) // its end tells of itself
    return { sentBytes: data.byteLength, canSendMore }
  }

  async sendClose(options?: { signal?: AbortSignal }): Promise<void> {
    await this.#stream.close(options)
  }

  sendReset(error: Error): void {
    this.#stream.abort(error)
    this.#channels.abort(error)
  }

  sendPause(): void {
    this.#stream.pause()
  }

  sendResume(): void {
    this.#stream.resume()
  }
}
