/**
 * Stops a process before it dials, asks the network for a name or joins a multicast group anywhere but on loopback.
 * It hooks Node's own sockets: native add-ons (WebRTC's UDP in node-datachannel) and programs that are not Node go
 * around it.
 */
import dgram from 'node:dgram'
import dns from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'

/** Says what was tried, and throws or ends the process: what it returns to would be dialled. */
export type Deny = (attempt: string) => never

const INSTALLED = Symbol.for('shoal.dial-gate')
const LOOPBACK = new net.BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8)
LOOPBACK.addAddress('::1', 'ipv6')

export function installDialGate(deny: Deny): void {
  const world = globalThis as { [INSTALLED]?: boolean }
  if (world[INSTALLED]) return
  world[INSTALLED] = true
  gateTcp(deny)
  gateUdp(deny)
  gateNames(deny)
  syncBuiltinESMExports() // for those who import a function by its name
}

function isLoopback(host: string): boolean {
  const family = net.isIP(host)
  return family === 0 ? host === 'localhost' : LOOPBACK.check(host, family === 6 ? 'ipv6' : 'ipv4')
}

/** Everything of Node's that speaks TCP (tls, http, fetch, WebSocket) comes through here. */
function gateTcp(deny: Deny): void {
  before(net.Socket.prototype, 'connect', (...args) => {
    const [first, second] = Array.isArray(args[0]) ? args[0] : args // an array: within Node
    const options = isRecord(first) ? first : { port: first, host: second }
    const isPipe = isRecord(first) ? typeof first.path === 'string' : Number.isNaN(Number(first))
    const host = typeof options.host === 'string' ? options.host : 'localhost'
    if (!isPipe && !isLoopback(host)) deny(`connect to ${host}, port ${options.port}`)
  })
}

function gateUdp(deny: Deny): void {
  const check = (what: string, host: unknown): void => {
    if (typeof host === 'string' && !isLoopback(host)) deny(`${what} ${host} by UDP`) // none: loopback, or connected
  }
  const { prototype } = dgram.Socket
  before(prototype, 'send', (_, ...rest) =>
    check(
      'send to',
      rest.findLast((value) => typeof value === 'string')
    )
  )
  before(prototype, 'connect', (_, host) => check('connect to', host))
  before(prototype, 'addMembership', (group, device) =>
    check(`join ${group} on`, device ?? 'every interface')
  )
  before(prototype, 'addSourceSpecificMembership', (_, group, device) =>
    check(`join ${group} on`, device ?? 'every interface')
  )
  // Port 0 everywhere is what a socket has that only sends; a port that others know is where mDNS and SSDP listen.
  before(prototype, 'bind', (first, second) => {
    const { port, address } = isRecord(first) ? first : { port: first, address: second }
    if (Number(port ?? 0) !== 0)
      check(`listen on port ${port} of`, typeof address === 'string' ? address : 'all')
  })
}

function gateNames(deny: Deny): void {
  for (const target of [dns, dns.promises]) {
    for (const name of ['lookup', 'lookupService']) {
      before(target, name, (host) => {
        if (typeof host === 'string' && net.isIP(host) === 0 && host !== 'localhost') deny(`look up ${host}`)
      })
    }
  }
  for (const target of [dns, dns.promises, dns.Resolver.prototype, dns.promises.Resolver.prototype]) {
    // A resolver's methods may be inherited: those of dns are the same.
    for (const name of Object.keys(dns).filter((key) => /^(resolve|reverse)/.test(key))) {
      before(target, name, (host) => deny(`ask a name server for ${host}`))
    }
  }
}

type Method = (this: unknown, ...args: unknown[]) => unknown

function before(target: object, name: string, check: (...args: unknown[]) => void): void {
  const methods = target as Record<string, Method>
  const original = methods[name]
  if (original === undefined) throw new Error(`the dial gate does not know this Node: it has no ${name}`)
  const gated: Method = function (...args) {
    check(...args)
    return original.apply(this, args)
  }
  // What promisify looks for, and so on.
  methods[name] = Object.defineProperties(gated, Object.getOwnPropertyDescriptors(original))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
