// Which addresses a node may dial.
import { BlockList, isIP } from 'node:net'

/** This machine only; private networks, too; or all. */
export type DialScope = 'loopback' | 'lan' | 'any'

const LOOPBACK: [string, number][] = [
  ['127.0.0.0', 8],
  ['::1', 128]
]
/** RFC 1918, RFC 4193, and link-local addresses. */
const PRIVATE: [string, number][] = [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['fe80::', 10],
  ['fc00::', 7]
]

const HOST = /^(?:\/ip6zone\/[^/]+)?\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)/
const TRANSPORT = /(?:\/tcp\/\d+(?:(?:\/tls)?\/wss?)?|\/udp\/\d+\/webrtc-direct(?:\/certhash\/[\w-]+)*)/
const PEER = /(?:\/p2p\/\w+(?:\/p2p-circuit(?:\/webrtc)?(?:\/p2p\/\w+)?)?)?$/
const ADDRESS = new RegExp(HOST.source + TRANSPORT.source + PEER.source)

function addresses(ranges: [string, number][]): (ip: string) => boolean {
  const list = new BlockList()
  for (const [network, prefix] of ranges) list.addSubnet(network, prefix, family(network))
  return (ip) => isIP(ip) !== 0 && list.check(ip, family(ip))
}

function family(ip: string): 'ipv4' | 'ipv6' {
  return isIP(ip) === 6 ? 'ipv6' : 'ipv4'
}

const isLoopback = addresses(LOOPBACK)
/** Addresses of this machine or a private network. */
export const isLocal = addresses([...LOOPBACK, ...PRIVATE])

const HOSTS: Readonly<Record<DialScope, (ip: string) => boolean>> = {
  loopback: isLoopback,
  lan: isLocal,
  any: () => true
}

/**
 * A dial gate. An address through a relay is judged by the relay's. Names are for `any` only: they may stand for
 * whatever their owner likes.
 */
export function dialScope(scope: DialScope): (address: string) => boolean {
  const isAllowed = HOSTS[scope]
  return (address) => {
    const [, kind, host] = ADDRESS.exec(address) ?? []
    if (kind === undefined || host === undefined) return false
    return kind.startsWith('dns') ? scope === 'any' : isIP(host) !== 0 && isAllowed(host)
  }
}
