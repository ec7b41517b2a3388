/** `/api/swarm`: what this node knows of the swarm, once as JSON, or as events whenever it has changed. */
import type { Context } from 'hono'
import { streamSSE } from 'hono/streaming'
import type { Clock } from '../common/index.ts'
import type { GatewayEnv } from './env.ts'
import { GatewayError } from './errors.ts'

export interface HostedSpan {
  /** The model's id. */
  readonly model: string
  /** Blocks [start, end). */
  readonly start: number
  readonly end: number
}

export interface SwarmSnapshot {
  readonly self: {
    readonly peer: string
    readonly version: string
    /** When it started, ISO 8601; undefined: it has not yet. */
    readonly since?: string | undefined
    readonly swarm: { readonly kind: string; readonly name?: string | undefined }
    readonly hosting: readonly HostedSpan[]
    /** Why it hosts that, or what it waits for, in plain words. */
    readonly placement: string
    /** Of others, that it computes for. */
    readonly sessions: number
    readonly peers: number
  }
  readonly models: readonly {
    readonly id: string
    readonly name: string
    readonly blockCount: number
    readonly isCovered: boolean
    /** Blocks that nobody hosts, as [start, end). */
    readonly missing: readonly (readonly [number, number])[]
    /** For each block, how many nodes host it: a bar. */
    readonly holders: readonly number[]
    readonly nodes: number
    /** Sessions opened per minute. */
    readonly demand: number
  }[]
  readonly nodes: readonly {
    readonly peer: string
    readonly spans: readonly HostedSpan[]
    /** Predicted or measured, in milliseconds. */
    readonly rttMs?: number | undefined
  }[]
}

/** What the gateway asks its node. */
export interface SwarmView {
  /** As it is now; undefined where nothing is known, such as before the node has started. Called often: cheap. */
  snapshot(): SwarmSnapshot | Promise<SwarmSnapshot>
  /** Why no requests can be answered now, in plain words; undefined: they can. */
  notReady(): string | undefined
}

/** What this gateway does for its own clients. */
export interface Throughput {
  readonly answering: number
  readonly waiting: number
  /** Over the last seconds. */
  readonly tokensPerSecond: number
}

export interface SwarmFeedComponents {
  readonly view: SwarmView
  readonly clock: Clock
  readonly throughput: () => Throughput
}

/** Nobody reads faster, and models come and go in minutes. */
const LOOK_MS = 1_000
/** A comment by then, since proxies close connections on which nothing comes. */
const KEEP_ALIVE_MS = 15_000
/** Each costs a socket. */
const MAX_LISTENERS = 64

type Listener = (text: string) => void

/** Looks while somebody listens, and tells all of them the same text. */
export class SwarmFeed {
  readonly #components: SwarmFeedComponents
  readonly #listeners = new Set<Listener>()
  #last: string | undefined
  #stopLooking: (() => void) | undefined
  readonly #life = new AbortController()

  constructor(components: SwarmFeedComponents) {
    this.#components = components
  }

  /** Ends all streams. */
  stop(): void {
    this.#life.abort()
  }

  async current(): Promise<string> {
    const { view, throughput } = this.#components
    return JSON.stringify({ ...(await view.snapshot()), gateway: throughput() })
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
    this.#stopLooking = this.#components.clock.after(LOOK_MS, () => {
      void this.#look().finally(() => {
        if (this.#listeners.size > 0) this.#lookLater()
      })
    })
  }

  async #look(): Promise<void> {
    const text = await this.current().catch(() => this.#last) // a node that stops: the next look says more
    if (text === undefined || text === this.#last) return
    this.#last = text
    for (const listener of this.#listeners) listener(text)
  }

  /** Server-sent events `swarm`, each the whole of it: at once, then at most once per second. */
  async stream(c: Context<GatewayEnv>): Promise<Response> {
    const { clock } = this.#components
    const signal = AbortSignal.any([c.get('signal'), this.#life.signal])
    let latest: string | undefined
    let changed = Promise.withResolvers<void>()
    const wake = (): void => changed.resolve()
    const stopListening = this.#listen((text) => {
      latest = text // whoever reads slowly misses what is old
      wake()
    })
    latest = await this.current().catch((error) => {
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
          else await stream.writeSSE({ event: 'swarm', data: text })
          const callOff = clock.after(KEEP_ALIVE_MS, wake)
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
