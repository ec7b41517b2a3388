/** The way of a request is the same in each dialect: body, internal requests, answers, and a form for them. */
import type { Context, Hono } from 'hono'
import type { z } from 'zod'
import type { AnswerRequest, Answers } from '../../chat/index.ts'
import type { Clock } from '../../common/index.ts'
import type { GatewayEnv } from '../env.ts'
import { type GatewayError, toGatewayError } from '../errors.ts'
import { parseBody } from './body.ts'
import { errorResponse, requestHeaders } from './failures.ts'
import { Inquiry } from './inquiry.ts'
import { type Renderer, stream } from './sse.ts'
import { collect, type Ended } from './whole.ts'

export interface DialectComponents {
  readonly answers: Answers
  readonly clock: Clock
  /** Told of what nobody foresaw; the client is not. */
  readonly log?: (message: string, error: unknown) => void
  /** Of each piece of text that is streamed: milliseconds since its token came. */
  readonly onTold?: (ms: number) => void
}

export interface DialectInit {
  /** How long an answer waits for a chain where there is none, in milliseconds. Default 0. */
  readonly waitMs?: number
}

/** What a form is made with, apart from the answers. */
export interface Exchange {
  /** Milliseconds since 1970. */
  readonly wall: number
  readonly requestId: string
  /** Asked with `x-shoal-details: 1`: strict clients see nothing that they don't know. */
  readonly hasDetails: boolean
}

export function hasDetails(c: Context<GatewayEnv>): boolean {
  return c.req.header('x-shoal-details') === '1'
}

/** One endpoint that answers. */
export interface Dialect<T extends z.ZodType> {
  readonly path: string
  readonly schema: T
  /** What the internal request's fields are called here. */
  readonly params: Readonly<Record<string, string>>
  /** Throws a GatewayError INPUT. */
  requests(body: z.output<T>): readonly AnswerRequest[]
  isStreamed(body: z.output<T>): boolean
  /** The JSON of answers that are complete. */
  whole(wholes: readonly Ended[], exchange: Exchange, body: z.output<T>): unknown
  renderer(body: z.output<T>, exchange: Exchange): Renderer
}

/** An error as its dialect names it; what nobody foresaw is logged. */
function told(c: Context<GatewayEnv>, { log }: DialectComponents, error: unknown, params = {}): GatewayError {
  const told = toGatewayError(error, params)
  if (told.code === 'INTERNAL') log?.(`request ${c.get('requestId')} failed`, error)
  return told
}

/** A handler whose errors have the form of the path's dialect. */
export function guarded(
  components: DialectComponents,
  handle: (c: Context<GatewayEnv>) => Promise<Response>,
  params?: Readonly<Record<string, string>>
): (c: Context<GatewayEnv>) => Promise<Response> {
  return async (c) => {
    for (const [name, value] of Object.entries(requestHeaders(c.get('requestId')))) c.header(name, value)
    try {
      return await handle(c)
    } catch (error) {
      return errorResponse(c, told(c, components, error, params))
    }
  }
}

export function addDialect<T extends z.ZodType>(
  app: Hono<GatewayEnv>,
  components: DialectComponents,
  init: DialectInit,
  dialect: Dialect<T>
): void {
  const { answers, clock, onTold } = components
  const handle = async (c: Context<GatewayEnv>): Promise<Response> => {
    const body = await parseBody(c, dialect.schema)
    const requests = dialect.requests(body)
    const exchange = {
      wall: clock.wall(),
      requestId: c.get('requestId'),
      hasDetails: hasDetails(c)
    }
    const inquiry = new Inquiry(c, { answers, waitMs: init.waitMs }, requests)
    if (!dialect.isStreamed(body)) {
      return c.json(dialect.whole(await collect(inquiry, requests.length), exchange, body))
    }
    const renderer = dialect.renderer(body, exchange)
    const toError = (error: unknown): GatewayError => told(c, components, error, dialect.params)
    return stream(c, { ...exchange, clock, inquiry, renderer, toError, onTold })
  }
  app.post(dialect.path, guarded(components, handle, dialect.params))
}
