/**
 * The networks of the addresses that a node says it has: /24 of IPv4, /48 of IPv6 (what one customer of a provider
 * gets). Those on this machine or behind a router are left out, and names. For a relayed address it is the relay's.
 */
export function subnetsOf(addresses: readonly string[]): string[] {
  const subnets = addresses.map(subnetOf).filter((subnet) => subnet !== undefined)
  return [...new Set(subnets)]
}

function subnetOf(address: string): string | undefined {
  const [, kind, host = ''] = address.split('/')
  if (kind === 'ip4') return ip4(host)
  return kind === 'ip6' ? ip6(host.toLowerCase()) : undefined
}

function ip4(host: string): string | undefined {
  const bytes = host.split('.').map(Number)
  const [a, b] = bytes as [number, number]
  if (bytes.length !== 4 || !bytes.every((byte) => byte >= 0 && byte <= 255)) return undefined
  const isLocal =
    [0, 10, 127].includes(a) ||
    (a === 100 && b >= 64 && b <= 127) || // behind a provider's router
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b <= 31) ||
    (a === 192 && b === 168)
  return isLocal ? undefined : bytes.slice(0, 3).join('.')
}

function ip6(host: string): string | undefined {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(host)?.[1]
  if (mapped !== undefined) return ip4(mapped)
  const [head = '', tail] = host.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: Math.max(8 - before.length - after.length, 0) }, () => '0')
  const hextets = [...before, ...(tail === undefined ? [] : zeros), ...after].map((hex) =>
    Number.parseInt(hex, 16)
  )
  const [first = Number.NaN] = hextets
  if (hextets.length !== 8 || Number.isNaN(first)) return undefined
  const isLocal = first === 0 || (first & 0xfe00) === 0xfc00 || (first & 0xffc0) === 0xfe80
  return isLocal
    ? undefined
    : hextets
        .slice(0, 3)
        .map((hextet) => hextet.toString(16))
        .join(':')
}
