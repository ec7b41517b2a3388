/** Who asks: a key, an address, or whoever sits at this machine; and what each of them may use. */
import type { HttpBindings } from '@hono/node-server'
import type { Context, MiddlewareHandler } from 'hono'
import type { Clock } from '../common/index.ts'
import { clientAddress, networkOf, TrustedProxies } from './address.ts'
import type { GatewayEnv } from './env.ts'
import { GatewayError } from './errors.ts'
import { KEY_PREFIX, type KeyStore } from './keys.ts'
import type { Meter, OwnerLimits } from './limits.ts'
import type { Settings } from './settings.ts'

export interface Owner {
  /** `key:ID`, `address:NETWORK`, or `local`. */
  readonly name: string
  readonly limits: OwnerLimits
}

export interface AccessComponents {
  readonly clock: Clock
  readonly meter: Meter
  readonly keys: KeyStore | undefined
}

/** Whoever sits at this machine owns it: only the engine's own limits count. */
const LOCAL: Owner = { name: 'local', limits: {} }

export class Access {
  readonly #components: AccessComponents
  readonly #settings: Settings
  readonly #proxies: TrustedProxies

  constructor(components: AccessComponents, settings: Settings) {
    this.#components = components
    this.#settings = settings
    this.#proxies = new TrustedProxies(settings.trustedProxies)
  }

  /** A proxy carries many clients on few connections. */
  isProxy(address: string): boolean {
    return this.#proxies.has(address)
  }

  /** Counts the request, and notes whose it is. Throws a GatewayError KEY or LIMITED. */
  check(note: (c: Context<GatewayEnv>, owner: Owner) => void): MiddlewareHandler<GatewayEnv> {
    return async (c, next) => {
      const owner = await this.#ownerOf(c)
      c.set('owner', owner.name)
      note(c, owner)
      await this.#components.meter.request(owner.name, owner.limits)
      await next()
    }
  }

  /** Throws a GatewayError KEY. */
  async #ownerOf(c: Context<GatewayEnv>): Promise<Owner> {
    const { keys, meter } = this.#components
    const { anonymous } = this.#settings
    const secret = secretOf(c)
    const key = this.keyOf(c)
    if (key !== undefined) return key
    const guest = this.#guest(c)
    if (keys === undefined || (anonymous && !secret?.startsWith(KEY_PREFIX))) return guest
    await meter.request(guest.name, guest.limits) // whoever tries many has to wait
    const advice = 'send one in the header "authorization: Bearer sk-shoal-..."'
    throw new GatewayError(
      'KEY',
      `${secret === undefined ? 'a key is needed' : 'this key is not good'}: ${advice}`
    )
  }

  /** The owner of a key that is good. */
  keyOf(c: Context<GatewayEnv>): Owner | undefined {
    const { keys, clock } = this.#components
    const secret = secretOf(c)
    const key = secret?.startsWith(KEY_PREFIX) ? keys?.check(secret, clock.wall()) : undefined
    if (key === undefined) return undefined
    const own = Object.entries(key.limits).filter(([, value]) => value !== undefined)
    return { name: `key:${key.id}`, limits: { ...this.#settings.keyLimits, ...Object.fromEntries(own) } }
  }

  #guest(c: Context<GatewayEnv>): Owner {
    const { isPublic, addressLimits: limits } = this.#settings
    if (!isPublic) return LOCAL
    const { headers, socket } = (c.env as HttpBindings).incoming
    const address = clientAddress(socket.remoteAddress, headers, this.#proxies)
    return { name: `address:${networkOf(address)}`, limits }
  }
}

/** As OpenAI's clients send it, and as Anthropic's do. */
function secretOf(c: Context<GatewayEnv>): string | undefined {
  const [, bearer] = /^bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '') ?? []
  return bearer ?? c.req.header('x-api-key')
}
