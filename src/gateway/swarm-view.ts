/** `/api/swarm`: what this node knows of the swarm, once as JSON, or as events whenever it has changed. */

export interface HostedSpan {
  /** The model's id. */
  readonly model: string
  /** Blocks [start, end). */
  readonly start: number
  readonly end: number
  /** Being loaded: it can't be asked yet. Absent: it can. */
  readonly state?: 'loading' | undefined
  /** One row of one session through all of its blocks, as it was measured. */
  readonly decodeMs?: number | undefined
  /** Most sessions at once. */
  readonly sessions?: number | undefined
  /** Sessions opened per minute lately, roughly. */
  readonly demand?: number | undefined
}

/** At most 1,000 nodes and 256 models. */
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
    /** Whether others reach it; see `shoal netcheck`. */
    readonly reachability?: 'reachable' | 'relayed' | 'blocked' | 'local' | undefined
    /** The ways to find others, and how far each is. */
    readonly join?:
      | readonly { readonly name: string; readonly state: 'off' | 'waiting' | 'done' | 'failed' }[]
      | undefined
    /** When something was heard last that it did not know, ISO 8601. */
    readonly updated?: string | undefined
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
    /** As its listing says; absent where this node has none. */
    readonly licence?: string | undefined
    /** Of the whole model; absent where this node has nothing of it. */
    readonly bytes?: number | undefined
  }[]
  readonly nodes: readonly {
    readonly peer: string
    readonly spans: readonly HostedSpan[]
    /** Predicted or measured, in milliseconds. */
    readonly rttMs?: number | undefined
    readonly version?: string | undefined
    /** How others reach it, by the addresses that it gives. */
    readonly reachability?: 'direct' | 'relayed' | 'unknown' | undefined
    /** Why, where there is something to say. */
    readonly why?: string | undefined
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
