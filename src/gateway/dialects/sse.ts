/**
 * Server-sent events: headers early enough, comments while nothing comes, errors in mid-stream.
 *
 * The reader pulls: whoever reads slowly gets several tokens at once, and the answer waits for who does not read.
 */
import type { UnderlyingSource } from 'node:stream/web'
import type { Context } from 'hono'
import type { AnswerEvent } from '../../chat/index.ts'
import { aborted, type Clock } from '../../common/index.ts'
import type { GatewayEnv } from '../env.ts'
import type { GatewayError } from '../errors.ts'
import type { Inquiry, Numbered } from './inquiry.ts'

/** An error before this still has its status; the client hears something soon enough not to give up. */
const EARLY_MS = 2_000
/** Half of the shortest idle limits that proxies have by default. */
const KEEP_ALIVE_MS = 10_000

/** What answers say; what happens to their chains is told in the same form by all. */
export type Saying = Exclude<AnswerEvent, { type: 'chain' }>

/** One dialect's form of one request's answers. Strings are whole events of a stream; '' is nothing. */
export interface Renderer {
  event(event: Saying, index: number): string
  end(): string
  failure(error: GatewayError): string
  /** Where the dialect has more than a comment for it. */
  keepAlive?(): string
}

export interface StreamInit {
  readonly clock: Clock
  readonly inquiry: Inquiry
  readonly renderer: Renderer
  /** Whether to tell what happens to the chain. */
  readonly hasDetails: boolean
  /** Of any error, once, before it is rendered. */
  readonly toError: (error: unknown) => GatewayError
  /** Of each piece of text: how long ago its token came, in milliseconds. */
  readonly onTold?: ((ms: number) => void) | undefined
}

/** `data` in one line, under its event's name where the dialect has names. */
export function sse(data: unknown, name?: string): string {
  const line = `data: ${JSON.stringify(data)}\n\n`
  return name === undefined ? line : `event: ${name}\n${line}`
}

/** Throws what fails before the headers are sent. */
export async function stream(c: Context<GatewayEnv>, init: StreamInit): Promise<Response> {
  const body = new Body(init, c.get('signal'))
  await body.begin()
  return c.body(new ReadableStream(body, { highWaterMark: 0 }), 200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no'
  })
}

type Controller = ReadableStreamDefaultController<Uint8Array>
type Batch = readonly Numbered[] | undefined
const LATE = Symbol('nothing came in time')

class Body implements UnderlyingSource<Uint8Array> {
  readonly #init: StreamInit
  readonly #signal: AbortSignal
  readonly #encoder = new TextEncoder()
  #pending: Promise<Batch> | undefined
  #waitMs = KEEP_ALIVE_MS
  #isPulled = false
  #isCancelled = false

  constructor(init: StreamInit, signal: AbortSignal) {
    this.#init = init
    this.#signal = signal
  }

  /** Waits for the first events, for a while. */
  async begin(): Promise<void> {
    const first = await this.#next(EARLY_MS)
    if (first === LATE) this.#waitMs = 0
    else this.#pending = Promise.resolve(first)
  }

  /** Who does not read can't be told that it is over: the connection goes. */
  start(controller: Controller): void {
    void aborted(this.#signal).then(() => {
      const isGone = this.#init.toError(this.#signal.reason).code === 'GONE'
      if (!this.#isPulled && !isGone) controller.error(this.#signal.reason)
    })
  }

  /** After each call there is something to send, or the end. */
  async pull(controller: Controller): Promise<void> {
    const { renderer, toError } = this.#init
    this.#isPulled = true
    const failed = (error: unknown) => ({ text: renderer.failure(toError(error)), isLast: true })
    const { text, isLast } = await this.#read().catch(failed)
    this.#isPulled = false
    if (this.#isCancelled) return
    controller.enqueue(this.#encoder.encode(text))
    if (isLast) controller.close()
  }

  cancel(): void {
    this.#isCancelled = true
    this.#init.inquiry.stop()
  }

  async #read(): Promise<{ readonly text: string; readonly isLast: boolean }> {
    const { renderer } = this.#init
    for (;;) {
      const batch = await this.#next(this.#waitMs)
      if (batch === LATE) return { text: this.#idle(), isLast: false }
      if (batch === undefined) return { text: renderer.end(), isLast: true }
      const text = batch.map(({ event, index }) => this.#render(event, index)).join('')
      this.#told(batch)
      if (text !== '') return { text, isLast: false }
    }
  }

  #told(batch: readonly Numbered[]): void {
    const { onTold } = this.#init
    if (onTold === undefined) return
    const now = performance.now()
    for (const { event } of batch) {
      if (event.type === 'text' && event.at !== undefined) onTold(now - event.at)
    }
  }

  async #next(waitMs: number): Promise<Batch | typeof LATE> {
    const { clock, inquiry } = this.#init
    this.#waitMs = KEEP_ALIVE_MS
    this.#pending ??= inquiry.next()
    this.#pending.catch(() => {}) // it may fail between two pulls, and the next one tells
    const late = Promise.withResolvers<typeof LATE>()
    const callOff = clock.after(waitMs, () => late.resolve(LATE))
    const batch = await Promise.race([this.#pending, late.promise]).finally(callOff)
    if (batch !== LATE) this.#pending = undefined
    return batch
  }

  #idle(): string {
    const { inquiry, renderer } = this.#init
    if (inquiry.position !== undefined) return `: queued, position ${inquiry.position}\n\n`
    return renderer.keepAlive?.() ?? ': working\n\n'
  }

  /** What happens to the chain is a comment, which every client skips. */
  #render(event: AnswerEvent, index: number): string {
    const { renderer, hasDetails } = this.#init
    if (event.type !== 'chain') return renderer.event(event, index)
    const { change, message } = event
    return hasDetails ? `: shoal ${JSON.stringify({ index, change, message })}\n\n` : ''
  }
}
