/** How piece streams begin: with what both have, or with a document and nothing else. */
import { ShoalError } from '../../common/index.ts'
import {
  type Listener,
  MAX_CHUNK_BYTES,
  NetError,
  type PieceChunk,
  type PieceMessage,
  type PieceStream,
  WireError
} from '../../net/index.ts'

/** For the first message, and for each part of a document. */
const TIMEOUT_MS = 10_000

type Incoming = PieceMessage | PieceChunk

/**
 * Gives the first message to `begin`, which says who listens from then on, at once or later: who began waits for an
 * answer, and may say nothing more until then. Rejects when there is none, or `begin` throws; the stream is reset then.
 */
export async function firstMessage(
  stream: PieceStream,
  begin: (message: Incoming) => Listener<Incoming> | undefined | Promise<Listener<Incoming> | undefined>,
  signal?: AbortSignal
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timeout = setTimeout(
    () => give(new NetError('DIAL_FAILED', `${stream.peer} did not answer`)),
    TIMEOUT_MS
  )
  const give = (error: Error): void => {
    reject(error)
    stream.abort(error)
  }
  const abort = (): void => give(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  let listener: Listener<Incoming> | undefined
  let ended: { error: Error | undefined } | undefined
  let state: 'first' | 'answering' | 'begun' = 'first'
  const begun = (by: Listener<Incoming> | undefined): void => {
    listener = by
    state = 'begun'
    if (ended !== undefined) listener?.end(ended.error)
    resolve()
  }
  stream.start({
    receive: (message) => {
      if (state === 'begun') {
        listener?.receive(message)
        return
      }
      if (state === 'answering')
        throw new WireError('INVALID', 'a message that does not wait for the answer', 'type')
      state = 'answering'
      const by = begin(message)
      if (by instanceof Promise) by.then(begun, give)
      else begun(by)
    },
    end: (error) => {
      reject(error ?? new NetError('CLOSED', `${stream.peer} ended the stream`))
      ended = { error }
      listener?.end(error)
    }
  })
  try {
    await promise
  } finally {
    clearTimeout(timeout)
    signal?.removeEventListener('abort', abort)
  }
}

/** Throws what a refusal says. */
export function refusal(peer: string, { code, message }: { code: string; message: string }): ShoalError {
  return new ShoalError('REFUSED', `${peer} does not exchange this model (${code}): ${message}`)
}

/** Sends all of a document, as fast as `pace` lets it. */
export async function sendDocument(
  stream: PieceStream,
  document: Uint8Array,
  pace: (bytes: number) => Promise<void>
): Promise<void> {
  stream.send({ type: 'document', byteLength: document.byteLength })
  for (let offset = 0; offset < document.byteLength; offset += MAX_CHUNK_BYTES) {
    const bytes = document.subarray(offset, offset + MAX_CHUNK_BYTES)
    await pace(bytes.byteLength)
    await stream.sendChunks([{ type: 'chunk', index: 0, offset, bytes }])
  }
  await stream.close()
}

/** Asks for a document and gives its bytes, which nobody has checked. */
export async function fetchDocument(
  stream: PieceStream,
  model: string,
  document: 'manifest' | 'listing',
  maxBytes: number,
  signal?: AbortSignal
): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  promise.catch(() => {})
  const abort = (): void => stream.abort(signal?.reason)
  try {
    stream.send({ type: 'get', model, document })
    const begin = (message: Incoming): Listener<Incoming> => {
      if (message.type === 'refused') throw refusal(stream.peer, message)
      if (message.type !== 'document' || message.byteLength > maxBytes) {
        throw new WireError('INVALID', `no ${document} of at most ${maxBytes} bytes`, 'document')
      }
      return receiver(message.byteLength, resolve, reject)
    }
    await firstMessage(stream, begin, signal)
    signal?.addEventListener('abort', abort, { once: true })
    return await promise
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
    void stream.close()
  }
}

function receiver(
  byteLength: number,
  resolve: (bytes: Uint8Array) => void,
  reject: (error: Error) => void
): Listener<Incoming> {
  const bytes = new Uint8Array(byteLength)
  let filled = 0
  return {
    receive: (chunk) => {
      if (chunk.type !== 'chunk' || chunk.offset !== filled || filled + chunk.bytes.byteLength > byteLength) {
        throw new WireError('INVALID', 'bytes that are not due', 'document')
      }
      bytes.set(chunk.bytes, filled)
      filled += chunk.bytes.byteLength
      if (filled === byteLength) resolve(bytes)
    },
    end: (error) => reject(error ?? new NetError('CLOSED', 'the stream ended within a document'))
  }
}
