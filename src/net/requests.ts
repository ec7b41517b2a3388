// Protocols that are one request and one answer, on raw streams.
import { NetError } from './errors.ts'
import { MAX_REQUEST_BYTES, receive, takeExactly, takeMessage } from './protocols.ts'
import type { RawStream } from './raw-stream.ts'
import type { Handlers } from './types.ts'
import { WireError } from './wire/errors.ts'
import { withLength } from './wire/length-prefix.ts'
import { MAX_DIRECTORY_BYTES, MAX_MESSAGE_BYTES } from './wire/limits.ts'
import {
  checkInfoRequest,
  decodeInfo,
  encodeInfo,
  encodeInfoRequest,
  swarmAnswers,
  swarmRequests
} from './wire/messages.ts'
import type { Info, SwarmAnswer, SwarmRequest } from './wire/types.ts'

/** For an answer of up to 4 MiB on a slow line. */
const ANSWER_TIMEOUT_MS = 30_000
/** Answers of up to 4 MiB that wait for their readers, of all peers. */
const MAX_UNREAD = 64
const PING_BYTES = 32

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

/** Instead of an answer, to a peer that asks too often. */
export function refuseInfo(raw: RawStream): void {
  raw.abort(new NetError('REFUSED', `${raw.peer} asks too often`))
}

/** Answers that wait for slow readers. */
export class Unread {
  /** In order of waiting, the longest first. */
  readonly #waiting = new Set<RawStream>()

  /** Resolves when it is read. When too many wait, or it waits for too long, its stream is reset. */
  async wait(raw: RawStream): Promise<void> {
    const late = () => raw.abort(new NetError('CLOSED', `${raw.peer} does not read its answer`))
    const deadline = AbortSignal.timeout(ANSWER_TIMEOUT_MS)
    deadline.addEventListener('abort', late)
    this.#waiting.add(raw)
    if (this.#waiting.size > MAX_UNREAD) {
      const [longest] = this.#waiting
      longest?.abort(new NetError('CLOSED', `${longest.peer} reads too slowly, and others wait`))
    }
    try {
      await raw.drained()
    } finally {
      this.#waiting.delete(raw)
      deadline.removeEventListener('abort', late)
    }
  }
}

export async function answerSwarm(raw: RawStream, handlers: Handlers, unread: Unread): Promise<void> {
  const request = swarmRequests.decode(await receive(raw, takeMessage(MAX_MESSAGE_BYTES)))
  const answer = await handlers.ask?.(raw.peer, request)
  await reply(
    raw,
    answer ?? { type: 'refused', code: 'unsupported', message: 'not a member of a swarm' },
    unread
  )
}

export function refuseSwarm(raw: RawStream, unread: Unread): Promise<void> {
  return reply(raw, { type: 'refused', code: 'busy', message: 'too many requests: ask later' }, unread)
}

async function reply(raw: RawStream, answer: SwarmAnswer, unread: Unread): Promise<void> {
  const isSent = raw.write(withLength(swarmAnswers.encode(answer)))
  if (!isSent) await unread.wait(raw)
  await raw.close()
}

export async function askSwarm(
  raw: RawStream,
  request: SwarmRequest,
  signal?: AbortSignal
): Promise<SwarmAnswer> {
  raw.write(withLength(swarmRequests.encode(request)))
  const bytes = await receive(raw, takeMessage(MAX_DIRECTORY_BYTES), signal, ANSWER_TIMEOUT_MS)
  const answer = swarmAnswers.decode(bytes)
  void raw.close()
  return answer
}

/** Milliseconds. */
export async function ping(raw: RawStream, signal?: AbortSignal): Promise<number> {
  const sent = crypto.getRandomValues(new Uint8Array(PING_BYTES))
  const start = performance.now()
  raw.write(sent)
  const received = await receive(
    raw,
    takeExactly(PING_BYTES, () => {}),
    signal
  )
  const elapsed = performance.now() - start
  void raw.close()
  if (Buffer.compare(sent, received) === 0) return elapsed
  throw new WireError('MALFORMED', 'not the bytes that the ping had', 'ping')
}
