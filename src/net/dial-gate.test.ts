import { expect, test } from 'vitest'
import { type DialScope, dialScope } from './dial-gate.ts'

const RELAY = 'p2p/12D3KooWRelay'
const TARGET = 'p2p/12D3KooWTarget'

/** The narrowest scope that lets each through. */
const NARROWEST: [string, DialScope][] = [
  ['/ip4/127.0.0.1/tcp/4001', 'loopback'],
  [`/ip4/127.8.9.1/tcp/1/${TARGET}`, 'loopback'],
  ['/ip6/::1/tcp/4001', 'loopback'],
  ['/ip4/127.0.0.1/tcp/4001/ws', 'loopback'],
  [`/ip4/127.0.0.1/tcp/4001/tls/ws/${TARGET}`, 'loopback'],
  [`/ip4/127.0.0.1/udp/4001/webrtc-direct/certhash/uEiAx-_y/${TARGET}`, 'loopback'],
  [`/ip4/127.0.0.1/tcp/1/${RELAY}/p2p-circuit/${TARGET}`, 'loopback'],
  [`/ip4/127.0.0.1/tcp/1/ws/${RELAY}/p2p-circuit/webrtc/${TARGET}`, 'loopback'],
  ['/ip4/192.168.1.2/tcp/4001', 'lan'],
  ['/ip4/10.1.2.3/tcp/4001/ws', 'lan'],
  ['/ip4/172.31.255.255/tcp/4001', 'lan'],
  ['/ip4/169.254.1.1/udp/1/webrtc-direct', 'lan'],
  ['/ip6/fd00::7/tcp/4001', 'lan'],
  ['/ip6zone/eth0/ip6/fe80::1/tcp/4001', 'lan'],
  [`/ip4/192.168.1.2/tcp/1/${RELAY}/p2p-circuit/${TARGET}`, 'lan'],
  ['/ip4/172.32.0.1/tcp/4001', 'any'],
  ['/ip4/1.127.0.0/tcp/1', 'any'],
  ['/ip4/192.0.2.1/tcp/4001/wss', 'any'],
  ['/ip6/::2/tcp/1', 'any'],
  ['/ip6/2001:db8::1/udp/9/webrtc-direct', 'any'],
  ['/dns4/localhost/tcp/4001', 'any'],
  ['/dns/relay.example/tcp/443/tls/ws', 'any'],
  [`/ip4/192.0.2.1/tcp/1/${RELAY}/p2p-circuit/${TARGET}`, 'any']
]

test.each(NARROWEST)('%s is for the scope %s and wider', (address, narrowest) => {
  const scopes: DialScope[] = ['loopback', 'lan', 'any']
  const allowed = scopes.filter((scope) => dialScope(scope)(address))
  expect(allowed).toEqual(scopes.slice(scopes.indexOf(narrowest)))
})

test.each([
  'x/ip4/127.0.0.1/tcp/4001',
  '/ip4/127.0.0.1',
  '/ip4/127.0.0.1/udp/4001',
  '/ip4/127.0.0.1.5/tcp/1',
  '/ip4/localhost/tcp/1',
  '/unix/tmp/socket',
  '/p2p/12D3KooWTarget',
  // A relay has to be named: the address would be whoever answers there.
  '/ip4/127.0.0.1/tcp/1/p2p-circuit/p2p/12D3KooWTarget',
  // A relay's relay could be anywhere.
  `/ip4/127.0.0.1/tcp/1/${RELAY}/p2p-circuit/${RELAY}/p2p-circuit/${TARGET}`
])('%s is not dialled at all', (address) => {
  expect(dialScope('any')(address)).toBe(false)
})
