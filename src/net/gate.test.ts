import { multiaddr } from '@multiformats/multiaddr'
import { expect, test } from 'vitest'
import { systemClock } from '../common/index.ts'
import { Gate, subnetOf } from './gate.ts'

test.each([
  ['/ip4/192.0.2.7/tcp/1', '/ip4/192.0.2.200/tcp/9', true],
  ['/ip4/192.0.2.7/tcp/1', '/ip4/192.0.3.7/tcp/1', false],
  ['/ip6/2001:db8:1:2::3/tcp/1', '/ip6/2001:db8:1:9::4/tcp/1', true],
  ['/ip6/2001:db8:1:2::3/tcp/1', '/ip6/2001:db8:2:2::3/tcp/1', false],
  ['/ip6/::ffff:192.0.2.7/tcp/1', '/ip4/192.0.2.9/tcp/1', true]
])('%s and %s are of one subnet: %s', (one, other, same) => {
  const [a, b] = [subnetOf(multiaddr(one)), subnetOf(multiaddr(other))]
  expect(a).toBeDefined()
  expect(a === b).toBe(same)
})

test.each([
  '/ip4/127.0.0.1/tcp/1',
  '/ip6/::1/tcp/1',
  '/dns4/relay.example/tcp/1',
  '/ip4/192.0.2.7/tcp/1/p2p/12D3KooWJaAMfpwD3Mmn42paQLAZ2gB4LMxYHgeUFDgQEX6frshx/p2p-circuit'
])('%s is of none', (address) => {
  expect(subnetOf(multiaddr(address))).toBeUndefined()
})

test('one subnet has at most 32 inbound connections', () => {
  const gate = new Gate(systemClock, () => true)
  const connections: { direction: string; remoteAddr: ReturnType<typeof multiaddr> }[] = []
  gate.watch({ getConnections: () => connections } as unknown as Parameters<Gate['watch']>[0])
  const { denyInboundConnection } = gate.forLibp2p()
  const isDenied = (address: string) =>
    denyInboundConnection!({ remoteAddr: multiaddr(address) } as Parameters<
      NonNullable<typeof denyInboundConnection>
    >[0])
  for (let host = 1; host <= 32; host++) {
    expect(isDenied(`/ip4/192.0.2.${host}/tcp/1`)).toBe(false)
    const remoteAddr = multiaddr(`/ip4/192.0.2.${host}/tcp/1`)
    // Those that we dialled ourselves do not count.
    connections.push({ direction: 'inbound', remoteAddr }, { direction: 'outbound', remoteAddr })
  }
  expect(isDenied('/ip4/192.0.2.99/tcp/1')).toBe(true)
  expect(isDenied('/ip4/192.0.3.99/tcp/1')).toBe(false)
  expect(isDenied('/ip4/127.0.0.1/tcp/1')).toBe(false)
  connections.shift()
  expect(isDenied('/ip4/192.0.2.99/tcp/1')).toBe(false)
})
