// Shoal's protocols, and the opening moves of sessions, on raw streams. docs/PROTOCOL.md has the rules.
import type { Uint8ArrayList } from 'uint8arraylist'
import { RawControlStream } from './control-stream.ts'
import { RawDataReceiver, RawDataSender } from './data-stream.ts'
import { NetError } from './errors.ts'
import { RawPieceStream } from './piece-stream.ts'
import type { RawStream } from './raw-stream.ts'
import type { DataSender, Handlers } from './types.ts'
import { WireError } from './wire/errors.ts'
import { MessageDecoder } from './wire/length-prefix.ts'
import {
  MAX_DIRECTORY_BYTES,
  MAX_FRAME_BYTES,
  MAX_INT32,
  MAX_MESSAGE_BYTES,
  MAX_PIECE_MESSAGE_BYTES,
  MAX_ROWS,
  TICKET_BYTES
} from './wire/limits.ts'
import type { Accepted } from './wire/types.ts'

export const CONTROL_PROTOCOL = '/shoal/session/1'
export const DATA_PROTOCOL = '/shoal/data/1'
export const INFO_PROTOCOL = '/shoal/info/1'
export const SWARM_PROTOCOL = '/shoal/swarm/1'
export const PIECES_PROTOCOL = '/shoal/pieces/1'
export const SHOAL_PROTOCOLS: ReadonlySet<string> = new Set([
  ...[CONTROL_PROTOCOL, DATA_PROTOCOL, INFO_PROTOCOL, SWARM_PROTOCOL, PIECES_PROTOCOL]
])
/** libp2p's own. */
export const PING_PROTOCOL = '/ipfs/ping/1.0.0'

/** A request for info has no fields yet. */
export const MAX_REQUEST_BYTES = 1_024

/** Bytes kept for a peer that does not read, before the stream is reset. */
export const MAX_UNSENT_BYTES = {
  [CONTROL_PROTOCOL]: 4 * MAX_MESSAGE_BYTES,
  // One frame waits for the window; a second one for callers that do not await the first.
  [DATA_PROTOCOL]: 2 * MAX_FRAME_BYTES,
  [INFO_PROTOCOL]: 2 * MAX_MESSAGE_BYTES,
  [SWARM_PROTOCOL]: 2 * MAX_DIRECTORY_BYTES,
  // Chunks wait for the window; what else is said is answers to what the peer asks, who has to read them.
  [PIECES_PROTOCOL]: 8 * MAX_PIECE_MESSAGE_BYTES,
  [PING_PROTOCOL]: MAX_REQUEST_BYTES
}

/** One round trip and a look into a map; the rest is for slow lines, and for an `open` that is still under way. */
export const HANDSHAKE_TIMEOUT_MS = 10_000
const DATA_VERSION = 1
const ACCEPTED = 1
/** The byte above, u32 epoch, u32 length, u32 most rows. */
const ACCEPT_BYTES = 13

/**
 * Reads with `take` until it gives a value, then pauses the stream. Rejects when the stream ends, the time is
 * over or the signal fires; the stream is reset then.
 */
export function receive<T>(
  raw: RawStream,
  take: (chunk: Uint8Array | Uint8ArrayList) => T | undefined,
  signal?: AbortSignal,
  timeoutMs = HANDSHAKE_TIMEOUT_MS
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const deadline = AbortSignal.timeout(timeoutMs)
  const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline])
  const cancel = () =>
    raw.abort(new NetError('DIAL_FAILED', `${raw.peer} did not answer in time, or we gave up`))
  either.addEventListener('abort', cancel)
  if (either.aborted) cancel()
  raw.start({
    bytes: (chunk) => {
      const value = take(chunk)
      if (value === undefined) return
      raw.pause()
      resolve(value)
    },
    end: (error) => reject(error ?? raw.endedError())
  })
  return promise.finally(() => either.removeEventListener('abort', cancel))
}

export function takeMessage(
  maxBytes: number
): (chunk: Uint8Array | Uint8ArrayList) => Uint8Array | undefined {
  const decoder = new MessageDecoder(maxBytes)
  return (chunk) => {
    for (const message of decoder.decode(chunk)) return message
    return undefined
  }
}

/** So many bytes, of which the first must be known; nothing may come after them before they are answered. */
export function takeExactly(
  count: number,
  checkFirst: (byte: number) => void
): (chunk: Uint8Array | Uint8ArrayList) => Uint8Array | undefined {
  const bytes = new Uint8Array(count)
  let filled = 0
  return (chunk) => {
    if (filled + chunk.byteLength > count) {
      throw new WireError('MALFORMED', 'more bytes than the handshake has', 'ticket')
    }
    bytes.set(chunk.subarray(), filled)
    filled += chunk.byteLength
    checkFirst(bytes[0] as number)
    return filled === count ? bytes : undefined
  }
}

function takeTicket(): (chunk: Uint8Array | Uint8ArrayList) => Uint8Array | undefined {
  const take = takeExactly(1 + TICKET_BYTES, (version) => {
    if (version === DATA_VERSION) return
    throw new WireError('VERSION', `data stream of version ${version}: this node speaks ${DATA_VERSION}`)
  })
  return (chunk) => take(chunk)?.subarray(1)
}

export function answerPieces(raw: RawStream, handlers: Handlers): void {
  if (handlers.pieces === undefined) throw new NetError('REFUSED', 'this node exchanges no pieces')
  handlers.pieces(new RawPieceStream(raw))
}

export function refusePieces(raw: RawStream): void {
  raw.abort(new NetError('REFUSED', `${raw.peer} asks too often`))
}

export function answerControl(raw: RawStream, handlers: Handlers): void {
  handlers.control(new RawControlStream(raw))
}

export async function answerData(raw: RawStream, handlers: Handlers): Promise<void> {
  const ticket = await receive(raw, takeTicket())
  const accepted = await handlers.data(ticket, new RawDataReceiver(raw))
  if (accepted !== undefined) raw.write(encodeAccepted(accepted))
  else raw.abort(new NetError('REFUSED', `${raw.peer} presented a ticket that nobody gave out`))
}

/** Throws {@link WireError}. */
export function checkTicket({ byteLength }: Uint8Array): void {
  if (byteLength === TICKET_BYTES) return
  throw new WireError('INVALID', `a ticket of ${byteLength} bytes: must be ${TICKET_BYTES}`, 'ticket')
}

export async function presentTicket(
  raw: RawStream,
  ticket: Uint8Array,
  signal?: AbortSignal
): Promise<DataSender> {
  checkTicket(ticket)
  const hello = new Uint8Array(1 + TICKET_BYTES)
  hello[0] = DATA_VERSION
  hello.set(ticket, 1)
  raw.write(hello)
  let accepted: Accepted
  try {
    accepted = await receive(raw, takeAccepted(), signal)
  } catch (cause) {
    if (cause instanceof WireError || signal?.aborted) throw cause
    throw new NetError('REFUSED', `${raw.peer} did not accept the data stream`, { cause })
  }
  const sender = new RawDataSender(raw, accepted)
  raw.start({
    bytes: () => {
      throw new WireError('MALFORMED', 'bytes against the direction of a data stream')
    },
    end: () => {} // the sender's `closed` tells
  })
  return sender
}

function encodeAccepted({ epoch, length, maxRows }: Accepted): Uint8Array {
  const view = new DataView(new ArrayBuffer(ACCEPT_BYTES))
  view.setUint8(0, ACCEPTED)
  view.setUint32(1, epoch, true)
  view.setUint32(5, length, true)
  view.setUint32(9, maxRows, true)
  return new Uint8Array(view.buffer)
}

function takeAccepted(): (chunk: Uint8Array | Uint8ArrayList) => Accepted | undefined {
  const malformed = (): never => {
    throw new WireError('MALFORMED', 'not an answer to a ticket', 'ticket')
  }
  const take = takeExactly(ACCEPT_BYTES, (byte) => byte === ACCEPTED || malformed())
  return (chunk) => {
    const bytes = take(chunk)
    if (bytes === undefined) return undefined
    const view = new DataView(bytes.buffer)
    const [epoch, length, maxRows] = [
      view.getUint32(1, true),
      view.getUint32(5, true),
      view.getUint32(9, true)
    ]
    if (length > MAX_INT32 || maxRows < 1 || maxRows > MAX_ROWS) malformed()
    return { epoch, length, maxRows }
  }
}
