// What js-libp2p leaves on the table for small messages in a hurry, mended from outside. Both are legal on the wire,
// so that other libp2p implementations stay welcome. They reach into libp2p 3.3's objects: when an upgrade moves
// what they reach for, a test fails.
import type { MultiaddrConnection, StreamMuxerFactory, Transport, Upgrader } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'

/** The parts of libp2p's TCP connection that are of use here. */
interface TcpConnection extends MultiaddrConnection {
  socket: { cork(): void; uncork(): void; write(bytes: Uint8Array): boolean }
  sendData(data: Uint8ArrayList): { sentBytes: number; canSendMore: boolean }
}

/** Below this, copying the pieces of a message together costs less than a gathering write. */
const COPY_BYTES = 64 * 1024

/**
 * libp2p writes the length, ciphertext pieces and tag of each encrypted message to the socket one by one: that
 * many system calls, packets (there is no delay by Nagle's algorithm) and read events on the other side. And it keeps
 * what a full socket does not take, but lets streams go on whenever the socket has room, however much it has kept: on a
 * thin link, megabytes pile up there. The socket can keep it, too, and says when nothing is left.
 */
function writeAtOnce(connection: MultiaddrConnection): MultiaddrConnection {
  const tcp = connection as TcpConnection
  tcp.sendData = (data) => {
    const sentBytes = data.byteLength
    if (sentBytes <= COPY_BYTES) return { sentBytes, canSendMore: tcp.socket.write(data.subarray()) }
    let canSendMore = true
    tcp.socket.cork()
    for (const piece of data) canSendMore = tcp.socket.write(piece)
    tcp.socket.uncork()
    return { sentBytes, canSendMore }
  }
  return tcp
}

function upgradeTuned(upgrader: Upgrader): Upgrader {
  const upgradeInbound: Upgrader['upgradeInbound'] = (connection, options) =>
    upgrader.upgradeInbound(writeAtOnce(connection), options)
  const upgradeOutbound = ((connection, options) =>
    upgrader.upgradeOutbound(writeAtOnce(connection), options)) as Upgrader['upgradeOutbound']
  return Object.assign(Object.create(upgrader), { upgradeInbound, upgradeOutbound })
}

export function tunedTransport<C>(factory: (components: C) => Transport): (components: C) => Transport {
  return (components) => {
    const transport = factory(components)
    const dial = transport.dial.bind(transport)
    const createListener = transport.createListener.bind(transport)
    transport.dial = (address, options) =>
      dial(address, { ...options, upgrader: upgradeTuned(options.upgrader) })
    transport.createListener = (options) =>
      createListener({ ...options, upgrader: upgradeTuned(options.upgrader) })
    return transport
  }
}

interface YamuxStream {
  recvWindow: number
  recvWindowCapacity: number
  sendWindowUpdate(): void
}

interface YamuxMuxer {
  _newStream(...args: unknown[]): YamuxStream
}

/**
 * The yamux of js-libp2p answers every data message with a window update: an encryption and a system call on this
 * side, a wake-up on the other. Sent when half of the window is used instead, as Go's yamux does. And windows start
 * at their full size, told to the other side when the stream opens.
 */
export function tunedMuxer<C>(
  windowBytes: number,
  factory: (components: C) => StreamMuxerFactory
): (components: C) => StreamMuxerFactory {
  return (components) => {
    const muxers = factory(components)
    const createStreamMuxer = muxers.createStreamMuxer.bind(muxers)
    muxers.createStreamMuxer = (connection) => {
      const muxer = createStreamMuxer(connection)
      const tuned = muxer as unknown as YamuxMuxer
      const newStream = tuned._newStream.bind(tuned)
      tuned._newStream = (...args) => {
        const stream = newStream(...args)
        stream.recvWindow = windowBytes
        const sendWindowUpdate = stream.sendWindowUpdate.bind(stream)
        stream.sendWindowUpdate = () => {
          if (stream.recvWindowCapacity > stream.recvWindow / 2) return
          try {
            sendWindowUpdate()
          } catch {
            // The connection has ended, which its streams hear of; yamux opens streams where nobody catches this.
          }
        }
        return stream
      }
      return muxer
    }
    return muxers
  }
}
