// The three protocols' opening moves, on raw streams. docs/PROTOCOL.md has the rules.
import type { Uint8ArrayList } from 'uint8arraylist'
import { RawControlStream } from './control-stream.ts'
import { RawDataReceiver, RawDataSender } from './data-stream.ts'
import { NetError } from './errors.ts'
import type { RawStream } from './raw-stream.ts'
import type { DataSender, Handlers } from './types.ts'
import { WireError } from './wire/errors.ts'
import { MessageDecoder, withLength } from './wire/length-prefix.ts'
import { MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, TICKET_BYTES } from './wire/limits.ts'
import { checkInfoRequest, decodeInfo, encodeInfo, encodeInfoRequest } from './wire/messages.ts'
import type { Info } from './wire/types.ts'

export const CONTROL_PROTOCOL = '/shoal/session/1'
export const DATA_PROTOCOL = '/shoal/data/1'
export const INFO_PROTOCOL = '/shoal/info/1'

/** Bytes kept for a peer that does not read, before the stream is reset. */
export const MAX_UNSENT_BYTES = {
  [CONTROL_PROTOCOL]: 4 * MAX_MESSAGE_BYTES,
  // One frame waits for the window; a second one for callers that do not await the first.
  [DATA_PROTOCOL]: 2 * MAX_FRAME_BYTES,
  [INFO_PROTOCOL]: 2 * MAX_MESSAGE_BYTES
}

/** One round trip and a look into a map; the rest is for slow lines, and for an `open` that is still under way. */
const HANDSHAKE_TIMEOUT_MS = 10_000
/** A request has no fields yet. */
const MAX_REQUEST_BYTES = 1_024
const DATA_VERSION = 1
const ACCEPTED = 1

/**
 * Reads with `take` until it gives a value, then pauses the stream. Rejects when the stream ends, the time is
 * over or the signal fires; the stream is reset then.
 */
function receive<T>(
  raw: RawStream,
  take: (chunk: Uint8Array | Uint8ArrayList) => T | undefined,
  signal?: AbortSignal
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const deadline = AbortSignal.timeout(HANDSHAKE_TIMEOUT_MS)
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

function takeMessage(maxBytes: number): (chunk: Uint8Array | Uint8ArrayList) => Uint8Array | undefined {
  const decoder = new MessageDecoder(maxBytes)
  return (chunk) => {
    for (const message of decoder.decode(chunk)) return message
    return undefined
  }
}

function takeTicket(): (chunk: Uint8Array | Uint8ArrayList) => Uint8Array | undefined {
  const hello = new Uint8Array(1 + TICKET_BYTES)
  let filled = 0
  return (chunk) => {
    if (filled + chunk.byteLength > hello.byteLength) {
      throw new WireError('MALFORMED', 'frames before the ticket was accepted', 'ticket')
    }
    hello.set(chunk.subarray(), filled)
    filled += chunk.byteLength
    if (hello[0] !== DATA_VERSION) {
      throw new WireError('VERSION', `data stream of version ${hello[0]}: this node speaks ${DATA_VERSION}`)
    }
    return filled === hello.byteLength ? hello.subarray(1) : undefined
  }
}

export function answerControl(raw: RawStream, handlers: Handlers): void {
  handlers.control(new RawControlStream(raw))
}

export async function answerData(raw: RawStream, handlers: Handlers): Promise<void> {
  const ticket = await receive(raw, takeTicket())
  if (await handlers.data(ticket, new RawDataReceiver(raw))) raw.write(Uint8Array.of(ACCEPTED))
  else raw.abort(new NetError('REFUSED', `${raw.peer} presented a ticket that nobody gave out`))
}

export async function presentTicket(
  raw: RawStream,
  ticket: Uint8Array,
  signal?: AbortSignal
): Promise<DataSender> {
  if (ticket.byteLength !== TICKET_BYTES) {
    throw new WireError(
      'INVALID',
      `a ticket of ${ticket.byteLength} bytes: must be ${TICKET_BYTES}`,
      'ticket'
    )
  }
  const hello = new Uint8Array(1 + TICKET_BYTES)
  hello[0] = DATA_VERSION
  hello.set(ticket, 1)
  raw.write(hello)
  try {
    await receive(raw, (chunk) => expectByte(chunk, ACCEPTED), signal)
  } catch (cause) {
    if (cause instanceof WireError || signal?.aborted) throw cause
    throw new NetError('REFUSED', `${raw.peer} did not accept the data stream`, { cause })
  }
  const sender = new RawDataSender(raw)
  raw.start({
    bytes: () => {
      throw new WireError('MALFORMED', 'bytes against the direction of a data stream')
    },
    end: () => {} // the sender's `closed` tells
  })
  return sender
}

function expectByte(chunk: Uint8Array | Uint8ArrayList, expected: number): true {
  if (chunk.byteLength === 1 && chunk.subarray()[0] === expected) return true
  throw new WireError('MALFORMED', 'not an answer to a ticket', 'ticket')
}

export async function answerInfo(raw: RawStream, handlers: Handlers): Promise<void> {
  checkInfoRequest(await receive(raw, takeMessage(MAX_REQUEST_BYTES)))
  raw.write(withLength(encodeInfo(handlers.info())))
  await raw.close()
}

export async function askInfo(raw: RawStream, signal?: AbortSignal): Promise<Info> {
  raw.write(withLength(encodeInfoRequest()))
  const info = decodeInfo(await receive(raw, takeMessage(MAX_MESSAGE_BYTES), signal))
  void raw.close()
  return info
}
