/** Manifests and listings, on streams of their own. */
import { type Clock, Limits } from '../../common/index.ts'
import { type Listener, MAX_CHUNK_BYTES, NetError, type PieceStream, WireError } from '../../net/index.ts'
import { firstMessage, type Incoming, refusal } from './handshake.ts'

/** Of each peer: a manifest is some 100 KB, and asking for it costs nothing. */
const DOCUMENTS = { burst: 16, everyMs: 10_000 }

/** For all of a document: the largest at 1 Mbit/s. */
const TIMEOUT_MS = 150_000

interface DocumentsComponents {
  readonly clock: Clock
  readonly manifest: (id: string) => Promise<Uint8Array | undefined>
  readonly listing: (id: string) => Promise<Uint8Array | undefined>
  /** Resolves when so many bytes may be sent. */
  readonly pace: (bytes: number) => Promise<void>
}

export class Documents {
  readonly #components: DocumentsComponents
  readonly #limits: Limits

  constructor(components: DocumentsComponents) {
    this.#components = components
    this.#limits = new Limits(components.clock, DOCUMENTS)
  }

  async give(stream: PieceStream, id: string, document: 'manifest' | 'listing'): Promise<void> {
    const isBusy = !this.#limits.take(stream.peer)
    const bytes = isBusy ? undefined : await this.#components[document](id)
    if (bytes === undefined || bytes.byteLength === 0) {
      const code = isBusy ? 'busy' : document
      stream.send({
        type: 'refused',
        code,
        message: isBusy ? 'asked too often' : 'this node does not have it'
      })
    } else {
      stream.send({ type: 'document', byteLength: bytes.byteLength })
      for (let offset = 0; offset < bytes.byteLength; offset += MAX_CHUNK_BYTES) {
        const chunk = bytes.subarray(offset, offset + MAX_CHUNK_BYTES)
        await this.#components.pace(chunk.byteLength)
        await stream.sendChunks([{ type: 'chunk', index: 0, offset, bytes: chunk }])
      }
    }
    await stream.close()
  }
}

/** Asks for a document and gives its bytes, which nobody has checked. */
export async function fetchDocument(
  stream: PieceStream,
  model: string,
  document: 'manifest' | 'listing',
  maxBytes: number,
  given?: AbortSignal
): Promise<Uint8Array> {
  const deadline = AbortSignal.timeout(TIMEOUT_MS)
  const signal = given === undefined ? deadline : AbortSignal.any([given, deadline])
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  promise.catch(() => {})
  const abort = (): void => stream.abort(signal.reason)
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
    signal.addEventListener('abort', abort, { once: true })
    return await promise
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
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
