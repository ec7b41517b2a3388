/** Something as JSON that changes: as a stream of server-sent events, for all who listen. */
import type { Context } from 'hono'
import { streamSSE } from 'hono/streaming'
import type { Clock } from '../common/index.ts'
import type { GatewayEnv } from './env.ts'
import { GatewayError } from './errors.ts'

export interface FeedComponents {
  readonly clock: Clock
}

export interface FeedInit {
  /** What its events are called. */
  readonly event: string
  /** All of it, as JSON. Called once per second while somebody listens. */
  readonly current: () => Promise<string>
}

/** Nobody reads faster. */
const LOOK_MS = 1_000
/** A comment by then, since proxies close connections on which nothing comes. */
const KEEP_ALIVE_MS = 15_000
/** Each costs a socket. */
const MAX_LISTENERS = 64

type Listener = (text: string) => void

/** Looks while somebody listens, and tells all of them the same text. */
export class Feed {
  readonly #clock: Clock
  readonly #init: FeedInit
  readonly #listeners = new Set<Listener>()
  #last: string | undefined
  #stopLooking: (() => void) | undefined
  readonly #life = new AbortController()

  constructor({ clock }: FeedComponents, init: FeedInit) {
    this.#clock = clock
    this.#init = init
  }

  /** Ends all streams. */
  stop(): void {
    this.#life.abort()
  }

  /** Returns how to stop. Throws a GatewayError BUSY where too many listen. */
  #listen(listener: Listener): () => void {
    if (this.#listeners.size >= MAX_LISTENERS) {
      throw new GatewayError('BUSY', 'too many listen already: ask without a stream', {
        retryAfterSeconds: 30
      })
    }
    this.#listeners.add(listener)
    if (this.#listeners.size === 1) this.#lookLater()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size > 0) return
      this.#stopLooking?.()
      this.#last = undefined
    }
  }

  #lookLater(): void {
    this.#stopLooking = this.#clock.after(LOOK_MS, () => {
      void this.#look().finally(() => {
        if (this.#listeners.size > 0) this.#lookLater()
      })
    })
  }

  async #look(): Promise<void> {
    const text = await this.#init.current().catch(() => this.#last) // a node that stops: the next look says more
    if (text === undefined || text === this.#last) return
    this.#last = text
    for (const listener of this.#listeners) listener(text)
  }

  /** Each event is the whole of it: at once, then at most once per second. */
  async stream(c: Context<GatewayEnv>): Promise<Response> {
    const { event } = this.#init
    const signal = AbortSignal.any([c.get('signal'), this.#life.signal])
    let latest: string | undefined
    let changed = Promise.withResolvers<void>()
    const wake = (): void => changed.resolve()
    const stopListening = this.#listen((text) => {
      latest = text // whoever reads slowly misses what is old
      wake()
    })
    latest = await this.#init.current().catch((error) => {
      stopListening()
      throw error
    })
    return streamSSE(c, async (stream) => {
      stream.onAbort(wake)
      signal.addEventListener('abort', wake)
      try {
        while (!signal.aborted && !stream.aborted) {
          const text = latest
          latest = undefined
          if (text === undefined) await stream.write(': nothing new\n\n')
          else await stream.writeSSE({ event, data: text })
          const callOff = this.#clock.after(KEEP_ALIVE_MS, wake)
          if (latest === undefined && !signal.aborted) await changed.promise
          callOff()
          changed = Promise.withResolvers()
        }
      } finally {
        stopListening()
        signal.removeEventListener('abort', wake)
      }
    })
  }
}

/** Whether events are asked for. */
export function wantsEvents(c: Context<GatewayEnv>): boolean {
  const isStream =
    c.req.query('stream') !== undefined || c.req.header('accept')?.includes('text/event-stream')
  return isStream === true && c.req.method === 'GET'
}
