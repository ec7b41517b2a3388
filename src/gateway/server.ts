/**
 * The gateway: HTTP for programs that speak to OpenAI or Anthropic.
 *
 * @example
 * ```ts
 * const gateway = new Gateway({ answers, swarm, clock: systemClock }, { port: 8642 })
 * await gateway.start()
 * ```
 */
import type { createServer, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { methodNotAllowed } from 'hono/method-not-allowed'
import type { Answers } from '../chat/index.ts'
import { type Clock, ShoalError, type Startable } from '../common/index.ts'
import { addAbout, frontPage } from './about.ts'
import { Access, type Owner } from './access.ts'
import { admit } from './admission.ts'
import { boundBody } from './body-bounds.ts'
import { Connections } from './connections.ts'
import { dialects, errorResponse } from './dialects/index.ts'
import type { GatewayEnv } from './env.ts'
import { GatewayError, toGatewayError } from './errors.ts'
import { Feed } from './feed.ts'
import { guard } from './guard.ts'
import { KeyStore } from './keys.ts'
import { Meter } from './limits.ts'
import { Metrics } from './metrics.ts'
import { nodeApi } from './node-api.ts'
import type { NodeControl } from './node-control.ts'
import { ObservedAnswers } from './observed.ts'
import { FairQueue } from './queue.ts'
import type { GatewayLog } from './record.ts'
import { Requests } from './requests.ts'
import { type GatewayInit, type Settings, settingsOf } from './settings.ts'
import type { SwarmView, Throughput } from './swarm-view.ts'

export interface GatewayComponents {
  /** Started and stopped by whoever made them. */
  readonly answers: Answers
  readonly swarm: SwarmView
  readonly clock: Clock
  /** Where it is the person's own node, who may do with it what they like. Left out of public gateways. */
  readonly control?: NodeControl | undefined
  /** One entry per request, and what failed that nobody foresaw. */
  readonly log?: GatewayLog | undefined
}

/** After answers were told to end, until their connections are cut. */
const LAST_WORDS_MS = 1_000
/** When keys were used last is written this often. */
const FLUSH_MS = 60_000
/** What counts as refused; the other errors are the request's own. */
const REFUSALS = ['KEY', 'FORBIDDEN', 'LIMITED', 'BUSY', 'TOO_LARGE']

export class Gateway implements Startable {
  readonly metrics: Metrics
  readonly #components: GatewayComponents
  readonly #settings: Settings
  readonly #keys: KeyStore | undefined
  readonly #meter: Meter
  readonly #queue: FairQueue
  readonly #requests: Requests
  readonly #answers: ObservedAnswers
  readonly #access: Access
  readonly #connections: Connections
  readonly #feeds: Feed[] = []
  readonly #server: Server
  #stopFlushing: (() => void) | undefined
  #started: Promise<void> | undefined
  #stopped: Promise<void> | undefined

  /** Throws a ShoalError KEYS or ADDRESS. */
  constructor(components: GatewayComponents, init: GatewayInit) {
    const settings = settingsOf(init)
    const { clock, log } = components
    this.#components = components
    this.#settings = settings
    this.#keys = settings.keysFile === undefined ? undefined : new KeyStore(settings.keysFile)
    this.#meter = new Meter(settings.limiters)
    const { concurrency: places, queue: length, queueMs: waitMs } = settings
    this.#queue = new FairQueue(clock, { places, length, waitMs })
    this.metrics = new Metrics({
      queueLength: () => this.#queue.length,
      answersActive: () => this.#queue.active,
      connections: () => this.#connections.open
    })
    this.#requests = new Requests({ clock, metrics: this.metrics, log }, settings.answerMs)
    this.#answers = new ObservedAnswers({
      ...{ answers: components.answers, clock, metrics: this.metrics },
      pending: (id) => this.#requests.get(id),
      spend: (id, tokens) => this.#spend(id, tokens)
    })
    this.#access = new Access({ clock, meter: this.#meter, keys: this.#keys }, settings)
    this.#connections = new Connections(
      {
        clock,
        isProxy: (address) => this.#access.isProxy(address),
        onRefused: (reason) => this.metrics.refused.inc({ reason })
      },
      settings
    )
    const app = this.#app()
    this.#server = createAdaptorServer({
      fetch: app.fetch,
      createServer: this.#connections.createServer as typeof createServer,
      overrideGlobalObjects: false // others in this process use fetch, too
    }) as Server
  }

  /** Where it is reached, once it has started. */
  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  /** Throws a ShoalError LISTEN. */
  start(): Promise<void> {
    this.#started ??= this.#listen()
    return this.#started
  }

  async #listen(): Promise<void> {
    const { host, port, anyPort } = this.#settings
    await this.#listenAt(port)
      .catch((error: NodeJS.ErrnoException) => {
        if (!anyPort || error.code !== 'EADDRINUSE') throw error
        return this.#listenAt(0)
      })
      .catch((cause: NodeJS.ErrnoException) => {
        const message = `Cannot listen on ${host}, port ${port}: ${adviceFor(cause)}`
        throw new ShoalError('LISTEN', message, { cause })
      })
    // Such as no file descriptors for another connection: those that are there go on.
    this.#server.on('error', (error) => this.#failed('a connection was not taken', error))
    this.#flushLater()
  }

  async #listenAt(port: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.once('error', reject)
    this.#server.listen(port, this.#settings.host, resolve)
    await promise.finally(() => this.#server.off('error', reject))
  }

  #flushLater(): void {
    this.#stopFlushing = this.#components.clock.after(FLUSH_MS, () => {
      try {
        this.#keys?.flush()
      } catch (error) {
        this.#failed('the keys could not be written', error)
      }
      this.#flushLater()
    })
  }

  /** Running answers may end, for a while; then they are cut off. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    await this.#started?.catch(() => {})
    this.#stopFlushing?.()
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const feed of this.#feeds) feed.stop()
    const ended = this.#requests.drain()
    await this.#within(this.#settings.drainMs, ended)
    this.#requests.abort(new GatewayError('STOPPING', 'this gateway is stopping', { retryAfterSeconds: 5 }))
    await this.#within(LAST_WORDS_MS, ended)
    this.#server.closeAllConnections()
    await closed
    this.#keys?.close()
  }

  async #within(ms: number, done: Promise<void>): Promise<void> {
    const late = Promise.withResolvers<void>()
    const callOff = this.#components.clock.after(ms, late.resolve)
    await Promise.race([done, late.promise])
    callOff()
  }

  #app(): Hono<GatewayEnv> {
    const { clock, swarm: view, control } = this.#components
    const { chainMs: waitMs, pages, isPublic } = this.#settings
    const app = new Hono<GatewayEnv>()
    app.use(this.#requests.begin, ...guard(this.#settings))
    app.use(methodNotAllowed({ app, onMethodNotAllowed: wrongMethod }))
    const access = this.#access.check((c, owner) => this.#recognised(c, owner))
    const bounded = boundBody(this.#settings, (c, bytes) => this.#bodyCame(c, bytes))
    app.use('/v1/*', access, bounded)
    app.use('/api/*', access, bounded)
    const swarm = async (): Promise<string> =>
      JSON.stringify({ ...(await view.snapshot()), gateway: this.#throughput })
    addAbout(app, {
      ...{ view, swarm, feed: this.#feed('swarm', swarm), metrics: this.metrics },
      mayReadMetrics: (c) => this.#settings.openMetrics || this.#access.keyOf(c) !== undefined
    })
    if (control !== undefined && !isPublic) {
      const report = async (): Promise<string> => JSON.stringify(await control.report())
      app.route('/api/node', nodeApi({ control, feed: this.#feed('node', report) }))
    }
    const log = (message: string, error: unknown): void => this.#failed(message, error)
    const onTold = (ms: number): void => this.metrics.delaySeconds.observe(ms / 1000)
    app.route('/', dialects({ answers: this.#answers, clock, log, onTold }, { waitMs }))
    if (pages === undefined) app.get('/', (c) => frontPage(c))
    else app.route('/', pages)
    app.notFound((c) => errorResponse(c, new GatewayError('NOT_FOUND', `there is nothing at ${c.req.path}`)))
    app.onError((error, c) => this.#errorAnswer(error, c))
    return app
  }

  #feed(event: string, current: () => Promise<string>): Feed {
    const feed = new Feed({ clock: this.#components.clock }, { event, current })
    this.#feeds.push(feed)
    return feed
  }

  /** Of errors before and beside the dialects, which see to their own. */
  #errorAnswer(error: Error, c: Context<GatewayEnv>): Response {
    const told = toGatewayError(error)
    if (told.code === 'INTERNAL') this.#failed(`request ${c.get('requestId')} failed`, error)
    this.#count(told)
    return errorResponse(c, told)
  }

  #count(error: unknown): void {
    if (!(error instanceof GatewayError) || !REFUSALS.includes(error.code)) return
    this.metrics.refused.inc({ reason: error.code.toLowerCase() })
  }

  #failed(message: string, error: unknown): void {
    const { log, clock } = this.#components
    const stack = error instanceof Error ? error.stack : String(error)
    log?.({ level: 'error', event: 'failure', time: new Date(clock.wall()).toISOString(), message, stack })
  }

  #recognised(c: Context<GatewayEnv>, { name, limits }: Owner): void {
    const pending = this.#requests.get(c.get('requestId'))
    if (pending === undefined) return
    pending.owner = name
    pending.limits = limits
    const onWaited = (ms: number): void => this.metrics.queueSeconds.observe(ms / 1000)
    const components = { meter: this.#meter, queue: this.#queue, onWaited }
    c.set('admit', (cost) =>
      admit(components, pending, cost).catch((error) => {
        this.#count(error)
        throw error
      })
    )
  }

  #spend(id: string, tokens: number): void {
    const { owner, limits } = this.#requests.get(id) ?? { owner: '', limits: {} }
    this.#meter.tokens(owner, limits, tokens).catch((error) => this.#failed('use was not counted', error))
  }

  #bodyCame(c: Context<GatewayEnv>, bytes: number): void {
    this.metrics.bodyBytes.observe(bytes)
    const pending = this.#requests.get(c.get('requestId'))
    if (pending !== undefined) pending.bytes = bytes
  }

  get #throughput(): Throughput {
    const { active: answering, length: waiting } = this.#queue
    return { answering, waiting, tokensPerSecond: this.#answers.tokensPerSecond }
  }
}

function wrongMethod(c: Context, methods: readonly string[]): Response {
  const error = new GatewayError('METHOD', `${c.req.path} takes ${methods.join(', ')}`)
  const answer = errorResponse(c, error)
  answer.headers.set('allow', methods.join(', '))
  return answer
}

function adviceFor({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'another program listens there, maybe another Shoal. End it, or choose another port with --port.'
    case 'EACCES':
      return 'it takes rights that this user lacks. Choose a port from 1024 on with --port.'
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return 'it is no address of this machine. Name one with --host.'
    default:
      return message
  }
}
