// Streams that don't wait for the other side to agree on what they are for.
import type { Stream, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'
import { NetError } from './errors.ts'

const MULTISTREAM = '/multistream/1.0.0'

/** What is reached for in libp2p 3.3: when an upgrade moves it, a test fails. */
interface RawMuxedStream extends Stream {
  onData(data: Uint8Array | Uint8ArrayList): void
}

/**
 * Agreeing on a protocol by multistream-select takes js-libp2p a round trip before anything else is said, though there
 * is nothing to choose where one protocol is offered. As go-libp2p does, the first bytes follow the offer at once, and
 * the answer is looked at when it comes; who does not speak the protocol resets or says so, and the stream is aborted.
 */
export function offeringMuxer<C>(
  protocols: ReadonlySet<string>,
  factory: (components: C) => StreamMuxerFactory
): (components: C) => StreamMuxerFactory {
  return (components) => {
    const muxers = factory(components)
    const createStreamMuxer = muxers.createStreamMuxer.bind(muxers)
    muxers.createStreamMuxer = (connection) => {
      const muxer = createStreamMuxer(connection)
      const createStream: StreamMuxer['createStream'] = muxer.createStream.bind(muxer)
      muxer.createStream = async (options) => {
        const stream = await createStream(options)
        const protocol = options?.protocol ?? ''
        if (protocols.has(protocol)) offer(stream as RawMuxedStream, protocol)
        return stream
      }
      return muxer
    }
    return muxers
  }
}

/** libp2p takes a stream that has its protocol as agreed on. */
function offer(stream: RawMuxedStream, protocol: string): void {
  const offered = Buffer.concat([line(MULTISTREAM), line(protocol)])
  stream.protocol = protocol
  stream.send(offered)
  let left = offered as Uint8Array // an answer that agrees says the same
  const onData = stream.onData.bind(stream)
  stream.onData = (data) => {
    const count = Math.min(left.byteLength, data.byteLength)
    if (Buffer.compare(data.subarray(0, count), left.subarray(0, count)) !== 0) {
      stream.abort(new NetError('REFUSED', `it does not speak ${protocol}: it may run another version`))
      return
    }
    left = left.subarray(count)
    if (left.byteLength === 0) stream.onData = onData
    if (data.byteLength > count)
      onData(data instanceof Uint8Array ? data.subarray(count) : data.sublist(count))
  }
}

/** After its length in one byte: names of protocols are short. */
function line(text: string): Buffer {
  const bytes = Buffer.from(`${text}\n`)
  return Buffer.concat([Buffer.of(bytes.byteLength), bytes])
}
