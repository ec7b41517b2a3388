import { expect, test } from 'vitest'
import { subnetsOf } from './subnets.ts'

test.each([
  ['/ip4/93.184.216.34/tcp/4001', '93.184.216'],
  ['/ip4/93.184.216.34/tcp/4001/p2p/12D3KooW/p2p-circuit', '93.184.216'],
  ['/ip6/2a00:1450:4001:81b::200e/tcp/1', '2a00:1450:4001'],
  ['/ip6/2a00::1/tcp/1', '2a00:0:0'],
  ['/ip6/2A00:1450:4001:0:0:0:0:1/tcp/1', '2a00:1450:4001'],
  ['/ip6/::ffff:93.184.216.34/tcp/1', '93.184.216']
])('%s is of %s', (address, subnet) => {
  expect(subnetsOf([address])).toEqual([subnet])
})

test.each([
  ...['/ip4/127.0.0.1/tcp/1', '/ip4/10.1.2.3/tcp/1', '/ip4/172.31.0.1/tcp/1', '/ip4/192.168.0.1/tcp/1'],
  ...['/ip4/100.64.0.1/tcp/1', '/ip4/169.254.1.1/tcp/1', '/ip6/::1/tcp/1', '/ip6/fd00::1/tcp/1'],
  ...[
    '/ip6/fe80::1/tcp/1',
    '/dns4/example.org/tcp/1',
    '/ip4/1.2.3/tcp/1',
    '/ip4/1.2.3.400',
    '/ip6/zz',
    '',
    '/'
  ]
])('%s is of none', (address) => {
  expect(subnetsOf([address])).toEqual([])
})

test('each is counted once', () => {
  expect(subnetsOf(['/ip4/1.2.3.4/tcp/1', '/ip4/1.2.3.5/tcp/2', '/ip4/1.2.4.4/tcp/1'])).toEqual([
    '1.2.3',
    '1.2.4'
  ])
})
