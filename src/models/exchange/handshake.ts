/** How piece streams begin. */
import { ShoalError } from '../../common/index.ts'
import {
  type Listener,
  NetError,
  type PieceChunk,
  type PieceMessage,
  type PieceStream,
  WireError
} from '../../net/index.ts'

/** For the first message. */
const TIMEOUT_MS = 10_000

export type Incoming = PieceMessage | PieceChunk

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
