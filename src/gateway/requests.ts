/** Requests on their way: each has an id, a signal that fires when nobody waits for it any more, and a record. */
import { randomUUID } from 'node:crypto'
import type { HttpBindings } from '@hono/node-server'
import type { Context, MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import type { Clock } from '../common/index.ts'
import type { GatewayEnv } from './env.ts'
import { GatewayError } from './errors.ts'
import type { OwnerLimits } from './limits.ts'
import type { Metrics } from './metrics.ts'
import type { AnswerRecord, GatewayLog } from './record.ts'

/** As clients make them up; others would do things to logs. */
const SANE_ID = /^[\w.:-]{1,128}$/
/** The status of a request whose client did not wait for one, as nginx logs it. */
const GONE = 499

export interface Pending {
  readonly id: string
  readonly since: number
  readonly controller: AbortController
  owner: string
  limits: OwnerLimits
  bytes: number
  route: string
  queueMs?: number
  position?: number
  readonly answers: AnswerRecord[]
}

export interface RequestsComponents {
  readonly clock: Clock
  readonly metrics: Metrics
  readonly log?: GatewayLog | undefined
}

export class Requests {
  readonly #components: RequestsComponents
  readonly #answerMs: number
  readonly #pending = new Map<string, Pending>()
  readonly #idle = new Set<() => void>()
  #isStopping = false

  constructor(components: RequestsComponents, answerMs: number) {
    this.#components = components
    this.#answerMs = answerMs
  }

  get(id: string): Pending | undefined {
    return this.#pending.get(id)
  }

  /** From now on all are refused. Resolves when those on their way have ended. */
  drain(): Promise<void> {
    this.#isStopping = true
    if (this.#pending.size === 0) return Promise.resolve()
    return new Promise((resolve) => void this.#idle.add(resolve))
  }

  abort(reason: Error): void {
    for (const { controller } of this.#pending.values()) controller.abort(reason)
  }

  /** The first of all middleware. */
  readonly begin: MiddlewareHandler<GatewayEnv> = async (c, next) => {
    const pending = this.#begin(c)
    c.set('requestId', pending.id)
    c.set('owner', '')
    c.set('signal', pending.controller.signal)
    c.header('x-request-id', pending.id)
    pending.route = routeOf(c)
    if (this.#isStopping) {
      c.header('connection', 'close')
      throw new GatewayError('STOPPING', 'this gateway is stopping: ask another one', {
        retryAfterSeconds: 5
      })
    }
    await next()
  }

  #begin(c: Context<GatewayEnv>): Pending {
    const { clock } = this.#components
    const { outgoing } = c.env as HttpBindings
    const wanted = c.req.header('x-request-id') ?? ''
    const id = SANE_ID.test(wanted) && !this.#pending.has(wanted) ? wanted : randomUUID()
    const controller = new AbortController()
    const pending: Pending = {
      ...{ id, since: clock.now(), controller, owner: '', limits: {}, bytes: 0, route: '', answers: [] }
    }
    this.#pending.set(id, pending)
    const isLate = (): void => controller.abort(new GatewayError('TIMEOUT', 'the answer took too long'))
    const callOff = clock.after(this.#answerMs, isLate)
    const ended = (): void => {
      callOff()
      this.#pending.delete(id)
      controller.abort(new GatewayError('GONE', 'the client is gone'))
      this.#record(pending, c)
      if (this.#pending.size > 0) return
      for (const resolve of this.#idle) resolve()
    }
    if (outgoing.closed) ended()
    else outgoing.once('close', ended)
    return pending
  }

  #record(pending: Pending, c: Context<GatewayEnv>): void {
    const { clock, metrics, log } = this.#components
    const { id, owner, route, bytes, queueMs, position, answers } = pending
    const { outgoing } = c.env as HttpBindings
    const { method } = c.req
    const status = outgoing.writableFinished ? outgoing.statusCode : GONE
    const ms = clock.now() - pending.since
    metrics.requests.inc({ route, method, status })
    metrics.requestSeconds.observe({ route }, ms / 1000)
    log?.({
      ...{ level: 'info', event: 'request', time: new Date(clock.wall()).toISOString() },
      ...{ id, owner, method, route, status, ms, bytes, queueMs, position, answers }
    })
  }
}

/** As it was registered: paths are anybody's. */
function routeOf(c: Context<GatewayEnv>): string {
  return matchedRoutes(c).findLast(({ method }) => method !== 'ALL')?.path ?? 'other'
}
