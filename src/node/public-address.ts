/** Addresses that strangers may have this node ask: nobody's router, intranet or own machine. */
import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'

/** All that is not for the public internet: RFC 6890, and multicast. */
const PRIVATE: readonly [string, number][] = [
  ...([
    ['0.0.0.0', 8],
    ['10.0.0.0', 8],
    ['100.64.0.0', 10],
    ['127.0.0.0', 8],
    ['169.254.0.0', 16],
    ['172.16.0.0', 12],
    ['192.0.0.0', 24],
    ['192.168.0.0', 16],
    ['198.18.0.0', 15],
    ['224.0.0.0', 3]
  ] as [string, number][]),
  ...([
    ['::', 96],
    ['64:ff9b::', 96],
    ['64:ff9b:1::', 48],
    ['2002::', 16],
    ['fc00::', 7],
    ['fe80::', 10],
    ['ff00::', 8]
  ] as [string, number][])
]
const notPublic = new BlockList()
for (const [network, prefix] of PRIVATE) notPublic.addSubnet(network, prefix, family(network))

/** A name is judged by all addresses that it stands for now; one that stands for none is not public. */
export async function isPublicAddress({ hostname }: URL): Promise<boolean> {
  const host = hostname.replace(/^\[|\]$/g, '')
  const found = isIP(host) !== 0 ? [{ address: host }] : await lookup(host, { all: true }).catch(() => [])
  return found.length > 0 && found.every(({ address }) => !notPublic.check(address, family(address)))
}

function family(ip: string): 'ipv4' | 'ipv6' {
  return isIP(ip) === 6 ? 'ipv6' : 'ipv4'
}
