import { expect, test } from 'vitest'
import { isLoopback } from './dial-gate.ts'

test.each(['/ip4/127.0.0.1/tcp/4001', '/ip4/127.8.9.1/tcp/1/p2p/12D3KooW', '/ip6/::1/tcp/4001'])(
  '%s is this machine',
  (address) => {
    expect(isLoopback(address)).toBe(true)
  }
)

test.each([
  '/ip4/192.168.1.2/tcp/4001',
  '/ip4/1.127.0.0/tcp/1',
  '/ip6/::2/tcp/1',
  '/dns4/localhost/tcp/4001',
  '/ip4/127.0.0.1/tcp/1/p2p/12D3KooW/p2p-circuit',
  'x/ip4/127.0.0.1/tcp/4001'
])('%s is not', (address) => {
  expect(isLoopback(address)).toBe(false)
})
