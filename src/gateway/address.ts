/** Whose address a request counts for: what headers say is believed of proxies that the operator has named only. */
import { BlockList, isIP } from 'node:net'
import { ShoalError } from '../common/index.ts'

export interface Forwarding {
  readonly 'x-forwarded-for'?: string | string[] | undefined
  readonly forwarded?: string | undefined
  readonly 'x-real-ip'?: string | string[] | undefined
}

/** Longer chains of proxies are made up. */
const MAX_PROXIES = 32
/** `::ffff:1.2.3.4` and its spelling in hexadecimal: what a socket for both families calls IPv4. */
const MAPPED = /^::ffff:(?:(\d+\.\d+\.\d+\.\d+)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/

/** Proxies as the operator names them: addresses, or networks such as `10.0.0.0/8`. */
export class TrustedProxies {
  readonly #list = new BlockList()

  /** Throws a ShoalError ADDRESS. */
  constructor(networks: readonly string[]) {
    for (const network of networks) this.#add(network)
  }

  #add(network: string): void {
    const [address = '', bits] = network.split('/')
    const family = isIP(address)
    const prefix = Number(bits ?? (family === 6 ? 128 : 32))
    if (family === 0 || !Number.isInteger(prefix) || prefix < 0 || prefix > (family === 6 ? 128 : 32)) {
      const example = 'such as 10.0.0.1 or 10.0.0.0/8'
      throw new ShoalError(
        'ADDRESS',
        `${network} is no address of a proxy, and no network: name one ${example}.`
      )
    }
    this.#list.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4')
  }

  has(address: string): boolean {
    return isIP(address) !== 0 && this.#list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
}

/**
 * The client's address: the peer's, unless that is a trusted proxy. Then it is the rightmost address in
 * `X-Forwarded-For`, else `Forwarded`, else `X-Real-IP` that is no trusted proxy: what stands left of it was written by
 * strangers.
 */
export function clientAddress(
  peer: string | undefined,
  headers: Forwarding,
  proxies: TrustedProxies
): string {
  let client = plainAddress(peer ?? '') ?? 'unknown'
  if (client === 'unknown' || !proxies.has(client)) return client
  for (const hop of hopsOf(headers).slice(-MAX_PROXIES).reverse()) {
    const address = plainAddress(hop)
    if (address === undefined) return client // whoever wrote it speaks in riddles: the proxy before it counts
    client = address
    if (!proxies.has(address)) return client
  }
  return client
}

function hopsOf(headers: Forwarding): string[] {
  const listed = [headers['x-forwarded-for'] ?? []].flat().join(',')
  if (listed !== '') return listed.split(',')
  if (headers.forwarded !== undefined) {
    return headers.forwarded
      .split(',')
      .map((hop) => /(?:^|;)\s*for="?([^";]*)"?/i.exec(hop.trim())?.[1] ?? '')
  }
  return [headers['x-real-ip'] ?? []].flat()
}

/** Without port, brackets and zone, IPv4 as such; undefined: it is no address. */
export function plainAddress(text: string): string | undefined {
  const bare = text
    .trim()
    .toLowerCase()
    .replace(/^\[([^\]]*)\](?::\d+)?$/, '$1')
    .replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1')
    .replace(/%.*$/, '')
  const family = isIP(bare)
  if (family === 0) return undefined
  return family === 4 ? bare : unmapped(shortened(bare))
}

/** IPv6 as URLs spell it: one spelling per address. */
function shortened(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1)
}

function unmapped(address: string): string {
  const [, dotted, high, low] = MAPPED.exec(address) ?? []
  if (dotted !== undefined) return dotted
  if (high === undefined || low === undefined) return address
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`
}

/** What limits are counted by: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer has. */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  const rest = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = tail === undefined ? 0 : 8 - groups.length - rest.length
  return `${[...groups, ...Array(missing).fill('0'), ...rest].slice(0, 4).join(':')}::/64`
}

/** Only this machine reaches it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}
