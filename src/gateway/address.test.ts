import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clientAddress, networkOf, TrustedProxies } from './address.ts'

const NONE = new TrustedProxies([])
const INSIDE = new TrustedProxies(['10.0.0.0/8', '::1', '127.0.0.1'])

describe('whose address counts', () => {
  test('nobody is believed unless the peer is a trusted proxy', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), fc.ipV4(), (forwarded, listed, real, peer) => {
        const headers = { forwarded, 'x-forwarded-for': listed, 'x-real-ip': real }
        expect(clientAddress(peer, headers, NONE)).toBe(peer)
      })
    )
  })

  test('what strangers write left of the last untrusted address changes nothing', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6())), (made) => {
        const listed = [...made.map((text) => text.replaceAll(',', '')), '203.0.113.7', '10.1.2.3'].join(', ')
        expect(clientAddress('127.0.0.1', { 'x-forwarded-for': listed }, INSIDE)).toBe('203.0.113.7')
      })
    )
  })

  test.each([
    [{ 'x-forwarded-for': '198.51.100.1, 203.0.113.7' }, '203.0.113.7'],
    [{ 'x-forwarded-for': ['198.51.100.1', '203.0.113.7:4711'] }, '203.0.113.7'],
    [{ forwarded: 'for=198.51.100.1, for="[2001:DB8::7]:4711";proto=https' }, '2001:db8::7'],
    [{ 'x-real-ip': '::ffff:203.0.113.7' }, '203.0.113.7'],
    [{ 'x-forwarded-for': '203.0.113.7, nonsense' }, '127.0.0.1'],
    [{ 'x-forwarded-for': '203.0.113.7, nonsense, 10.0.0.9' }, '10.0.0.9'],
    [{ 'x-forwarded-for': '10.0.0.9' }, '10.0.0.9'],
    [{ 'x-forwarded-for': '203.0.113.7, ::1' }, '203.0.113.7'],
    [{}, '127.0.0.1']
  ])('%j behind a trusted proxy is %s', (headers, client) => {
    expect(clientAddress('127.0.0.1', headers, INSIDE)).toBe(client)
  })

  test('IPv4 in IPv6 is IPv4, however it is spelled', () => {
    expect(clientAddress('::ffff:127.0.0.1', {}, NONE)).toBe('127.0.0.1')
    expect(clientAddress('::ffff:7f00:1', {}, NONE)).toBe('127.0.0.1')
    expect(clientAddress('0:0:0:0:0:FFFF:7f00:0001', {}, NONE)).toBe('127.0.0.1')
    expect(clientAddress('fe80::1%eth0', {}, NONE)).toBe('fe80::1')
  })

  test('IPv6 counts by its first 64 bits', () => {
    expect(networkOf('203.0.113.7')).toBe('203.0.113.7')
    expect(networkOf('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64')
    expect(networkOf('2001:db8::1')).toBe('2001:db8:0:0::/64')
    expect(networkOf('::1')).toBe('0:0:0:0::/64')
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        expect(networkOf(clientAddress(text, {}, NONE))).toMatch(/^(([0-9a-f]{1,4}:){4}:\/64|[\d.]+)$/)
      })
    )
  })

  test('what is no network is refused', () => {
    for (const wrong of ['', 'proxy', '10.0.0.0/33', '10.0.0.0/x', '10.0.0.1/-1']) {
      expect(() => new TrustedProxies([wrong])).toThrow('no address of a proxy')
    }
  })
})
