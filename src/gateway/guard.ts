/**
 * Which names and pages may ask. A page that a person visits can send requests to this machine, and by "DNS rebinding"
 * even under a name of its own: so the local API answers to its own names only, and to pages that were named.
 */
import { isIP } from 'node:net'
import type { MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import type { GatewayEnv } from './env.ts'
import { GatewayError } from './errors.ts'

export interface GuardInit {
  /** Answers to any name: it is meant to be found. */
  readonly isPublic: boolean
  /** Further names that it is called by, without port. */
  readonly names: readonly string[]
  /** Origins of pages that may ask, such as `https://chat.example.org`; `*`: all. */
  readonly corsOrigins: readonly string[]
}

const LOCAL_NAMES = ['localhost', '127.0.0.1', '[::1]']
/** Browsers ask again after this, in seconds. */
const PREFLIGHT_SECONDS = 600
/** What pages may read beside the body. */
const EXPOSED = ['x-request-id', 'retry-after']

/** Refuses requests for other hosts' names and from pages that may not ask, and answers preflights. */
export function guard(init: GuardInit): MiddlewareHandler<GatewayEnv>[] {
  const mayAsk = (origin: string, host: string): boolean => isAllowedOrigin(origin, host, init)
  const check: MiddlewareHandler<GatewayEnv> = async (c, next) => {
    const host = c.req.header('host') ?? ''
    if (!isAllowedHost(host, init)) {
      throw new GatewayError('FORBIDDEN', `this API does not answer to that host name: use http://127.0.0.1`)
    }
    const origin = c.req.header('origin')
    if (origin !== undefined && !mayAsk(origin, host)) {
      throw new GatewayError(
        'FORBIDDEN',
        'pages of that origin may not ask here: allow it with --cors ORIGIN'
      )
    }
    await next()
  }
  const share = cors({
    origin: (origin, c) => (mayAsk(origin, c.req.header('host') ?? '') ? origin : null),
    allowMethods: ['GET', 'HEAD', 'POST', 'DELETE'],
    exposeHeaders: EXPOSED,
    maxAge: PREFLIGHT_SECONDS
  })
  return [check, (c, next) => (c.req.header('origin') === undefined ? next() : share(c, next))]
}

function isAllowedHost(host: string, { isPublic, names }: GuardInit): boolean {
  if (isPublic) return true
  const name = nameOf(host)
  return name !== undefined && (LOCAL_NAMES.includes(name) || names.includes(name))
}

function isAllowedOrigin(origin: string, host: string, init: GuardInit): boolean {
  const { isPublic, names, corsOrigins } = init
  if (corsOrigins.includes('*') || corsOrigins.includes(origin)) return true
  const url = URL.parse(origin)
  if (url === null || !/^https?:$/.test(url.protocol)) return false
  if (isPublic) return url.host === host.toLowerCase()
  return LOCAL_NAMES.includes(url.hostname) || names.includes(url.hostname)
}

/** Without port; undefined: it is no host's name. */
function nameOf(host: string): string | undefined {
  const [, name = ''] = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d{1,5})?$/.exec(host.toLowerCase()) ?? []
  if (name === '' || (name.startsWith('[') && isIP(name.slice(1, -1)) !== 6)) return undefined
  return name
}
