/** How a gateway is set up. The defaults are those of a person's own machine. */
import type { Hono } from 'hono'
import { isLoopback } from './address.ts'
import type { GatewayEnv } from './env.ts'
import type { LimiterFactory, OwnerLimits } from './limits.ts'

export interface GatewayInit {
  /** Where it listens. Default 127.0.0.1. */
  readonly host?: string
  /** Default 8642; 0: any that is free. */
  readonly port?: number
  /** Where the port is taken, any that is free does. */
  readonly anyPort?: boolean
  /**
   * For strangers: it answers to any host name, and addresses without keys have limits. Default: where others than
   * this machine reach it.
   */
  readonly isPublic?: boolean
  /** Further host names that a local gateway is called by. */
  readonly names?: readonly string[]
  /** Origins of pages that may ask, such as `https://chat.example.org`; `*`: all. Default: those of this machine. */
  readonly corsOrigins?: readonly string[]
  /** Addresses or networks of proxies that tell truly who asks. Default: none. */
  readonly trustedProxies?: readonly string[]
  /** API keys, as `shoal keys` makes them. Default: none are asked for. */
  readonly keysFile?: string
  /** Whether one may ask without a key. Default: only where there are no keys. */
  readonly anonymous?: boolean
  /** Of each address without a key, where it is public. */
  readonly addressLimits?: OwnerLimits
  /** Of each key, where the key says nothing else. Default: no limits. */
  readonly keyLimits?: OwnerLimits
  /** Where use is counted. Default: in memory. */
  readonly limiters?: LimiterFactory
  /** Answers at once. */
  readonly concurrency?: number
  /** Requests that wait for a place. */
  readonly queue?: number
  /** How long they wait, in milliseconds. */
  readonly queueMs?: number
  /** How long an answer may take, in milliseconds. */
  readonly answerMs?: number
  /** How long an answer waits for a chain where there is none, in milliseconds. Default 0. */
  readonly chainMs?: number
  /** How long running answers may take to end when it stops, in milliseconds. */
  readonly drainMs?: number
  /** Of a request's body. */
  readonly maxBodyBytes?: number
  /** Of all bodies that are here at once. */
  readonly maxBodiesBytes?: number
  /** Headers that have not come by then end the connection, in milliseconds. */
  readonly headersMs?: number
  /** And so do requests, body included. */
  readonly requestMs?: number
  /** Readers that have taken nothing for so long, in milliseconds, are gone. */
  readonly stallMs?: number
  readonly maxConnections?: number
  /** Of one address, where it is public. */
  readonly connectionsPerAddress?: number
  /** Whoever reaches it may read `/metrics`. Default: where it is not public. */
  readonly openMetrics?: boolean
  /** Pages at `/`. Default: a few lines of text. */
  readonly pages?: Hono<GatewayEnv>
}

export const DEFAULTS = {
  host: '127.0.0.1',
  port: 8642,
  anyPort: false,
  names: [],
  corsOrigins: [],
  trustedProxies: [],
  /** A person who chats sends a few, and an agent some dozens. */
  addressLimits: { requestsPerMinute: 30, tokensPerMinute: 30_000, concurrency: 2 },
  keyLimits: {},
  /** Sessions of a stage as `shoal up` has them. */
  concurrency: 8,
  queue: 256,
  /** Clients wait some minutes: OpenAI's ten by default. */
  queueMs: 300_000,
  answerMs: 3_600_000,
  chainMs: 0,
  drainMs: 10_000,
  /** A context of a million tokens. */
  maxBodyBytes: 4 * 1024 * 1024,
  /** Parsed, they take several times that. */
  maxBodiesBytes: 256 * 1024 * 1024,
  headersMs: 10_000,
  /** 4 MiB at half a megabit per second. */
  requestMs: 60_000,
  stallMs: 60_000,
  maxConnections: 4_096,
  connectionsPerAddress: 64
} satisfies GatewayInit

export type Settings = Required<Omit<GatewayInit, Optional>> & Pick<GatewayInit, Optional>
type Optional = 'keysFile' | 'limiters' | 'pages'

export function settingsOf(init: GatewayInit): Settings {
  const given = Object.fromEntries(Object.entries(init).filter(([, value]) => value !== undefined))
  const { host = DEFAULTS.host, isPublic = !isLoopback(host), keysFile } = init
  const derived = { isPublic, anonymous: keysFile === undefined, openMetrics: !isPublic }
  return { ...DEFAULTS, ...derived, ...given }
}
