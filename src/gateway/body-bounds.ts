/** Bodies are bounded before anybody parses them: their size, their time (the server's), and how deep they nest. */
import type { IncomingMessage } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import type { Context, MiddlewareHandler } from 'hono'
import type { GatewayEnv } from './env.ts'
import { GatewayError } from './errors.ts'

/** Schemas of tools nest some ten levels; schemas here are walked recursively. */
const MAX_DEPTH = 100
const WITH_BODY = new Set(['POST', 'PATCH'])
const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPENING = new Set([0x5b, 0x7b])
const CLOSING = new Set([0x5d, 0x7d])

export interface BodyBounds {
  readonly maxBodyBytes: number
  /** Of all requests that are here. */
  readonly maxBodiesBytes: number
}

/** Reads the whole body, so that later readers find it. Throws a GatewayError TOO_LARGE, BUSY or INPUT. */
export function boundBody(
  { maxBodyBytes, maxBodiesBytes }: BodyBounds,
  onBytes: (c: Context<GatewayEnv>, bytes: number) => void
): MiddlewareHandler<GatewayEnv> {
  let held = 0
  return async (c, next) => {
    if (!WITH_BODY.has(c.req.method)) return next()
    checkHead(c.req.header('content-type'), c.req.header('content-encoding'))
    if (Number(c.req.header('content-length') ?? 0) > maxBodyBytes) throw tooLarge(maxBodyBytes)
    const { incoming } = c.env as HttpBindings
    const signal = c.get('signal')
    let own = 0
    signal.addEventListener('abort', () => {
      held -= own
      own = 0
    })
    const body = await read(incoming, signal, (bytes) => {
      signal.throwIfAborted() // what came before has been given back
      own += bytes
      held += bytes
      if (own > maxBodyBytes) throw tooLarge(maxBodyBytes)
      if (held <= maxBodiesBytes) return
      throw new GatewayError('BUSY', 'too much is being sent: try again later', { retryAfterSeconds: 5 })
    })
    onBytes(c, body.length)
    checkDepth(body)
    const cache: { arrayBuffer?: unknown } = c.req.bodyCache // of promises, though its type says otherwise
    cache.arrayBuffer = Promise.resolve(body.buffer)
    return next()
  }
}

/** Pages can send other types without asking first (CORS), so that they are refused. */
function checkHead(type: string | undefined, encoding: string | undefined): void {
  const [essence = ''] = (type ?? '').split(';')
  if (!/^application\/(?:[\w.-]+\+)?json$/i.test(essence.trim())) {
    throw new GatewayError('INPUT', 'the header content-type has to be application/json', {
      param: 'content-type'
    })
  }
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new GatewayError('INPUT', 'bodies have to come uncompressed, without content-encoding')
  }
}

function tooLarge(maxBytes: number): GatewayError {
  return new GatewayError('TOO_LARGE', `a body may have ${maxBytes} bytes at most`)
}

async function read(
  incoming: IncomingMessage,
  signal: AbortSignal,
  onBytes: (bytes: number) => void
): Promise<Uint8Array<ArrayBuffer>> {
  signal.throwIfAborted()
  const chunks: Buffer[] = []
  let size = 0
  try {
    // Who sends too much is to hear it: the connection stays.
    const parts: AsyncIterable<Buffer> = incoming.iterator({ destroyOnReturn: false })
    for await (const chunk of parts) {
      onBytes(chunk.length)
      size += chunk.length
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error
    signal.throwIfAborted()
    throw new GatewayError('GONE', 'the body broke off', {}, { cause: error })
  }
  const body = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.length
  }
  return body
}

/** Throws a GatewayError INPUT. What is no JSON is not told here. */
export function checkDepth(body: Uint8Array): void {
  let depth = 0
  let isText = false
  for (let at = 0; at < body.length; at++) {
    const byte = body[at] as number
    if (isText) {
      if (byte === BACKSLASH) at++
      else if (byte === QUOTE) isText = false
    } else if (byte === QUOTE) isText = true
    else if (OPENING.has(byte)) depth++
    else if (CLOSING.has(byte)) depth--
    if (depth > MAX_DEPTH) {
      throw new GatewayError('INPUT', `the body nests deeper than ${MAX_DEPTH} levels`)
    }
  }
}
