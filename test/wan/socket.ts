import type { Socket } from 'node:net'
import type { Uplink } from './uplink.ts'

type Callback = (error?: Error | null) => void

/** What Node's streams ask of a socket. */
interface Inside {
  _write(bytes: Uint8Array, encoding: string, done: Callback): void
  _writev(chunks: readonly { readonly chunk: Uint8Array }[], done: Callback): void
  _final(done: Callback): void
  _destroy(error: Error | null, done: Callback): void
  readonly _handle: { readStop(): void } | null
}

/**
 * From now on what is written to the socket goes through the uplink first, its end and its reset as well. All that
 * users of the socket see of it (back-pressure, the order of events) is still Node's.
 */
export function sendThrough(uplink: Uplink, socket: Socket): void {
  const inside = socket as unknown as Inside
  const { _write, _final, _destroy } = inside
  const lane = uplink.lane((bytes, taken) => {
    _write.call(socket, bytes, 'buffer', (error) => {
      if (error) socket.destroy(error)
      taken()
    })
  })
  inside._write = (bytes, _, done) => lane.send(bytes, done)
  inside._writev = (chunks, done) => lane.send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  inside._final = (done) => lane.flushed(() => _final.call(socket, done))
  inside._destroy = (error, done) => {
    if (socket.writableFinished) return _destroy.call(socket, error, done)
    inside._handle?.readStop() // a stream that is destroyed must not be read from
    lane.cut(() => _destroy.call(socket, error, done))
  }
}
