import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { blocks, bytes, duration, milliseconds, plural, sentence, shortPeer } from './units.ts'

const SEED = 20_261_122

describe('units', () => {
  test('bytes have at most one digit behind the point, and the unit that fits', () => {
    expect([0, 999, 999.6, 1_000, 1_234, 99_949, 99_960, 999_600, 5e9, 1.25e12].map(bytes)).toEqual([
      ...['0 B', '999 B', '1 kB', '1 kB', '1.2 kB', '99.9 kB', '100 kB', '1 MB', '5 GB', '1.3 TB']
    ])
  })

  test('bytes never show a thousand of a unit', () => {
    const property = fc.property(fc.double({ min: 0, max: 1e17, noNaN: true }), (value) => {
      const [number] = bytes(value).split(' ')
      expect(Number(number)).toBeLessThan(1_000)
    })
    fc.assert(property, { seed: SEED })
  })

  test('durations have their two largest units', () => {
    expect([0, 59.4, 59.6, 60, 3_599, 3_600, 7_500, 86_400, 90_000].map(duration)).toEqual([
      ...['0 s', '59 s', '1 min', '1 min', '59 min', '1 h', '2 h 5 min', '1 d', '1 d 1 h']
    ])
  })

  test('milliseconds are whole from ten on', () => {
    expect([0.04, 4.47, 9.96, 50.4].map(milliseconds)).toEqual(['0.0 ms', '4.5 ms', '10 ms', '50 ms'])
  })

  test('one is one, and all others are many', () => {
    expect([0, 1, 1_234].map((value) => plural(value, 'node'))).toEqual(['0 nodes', '1 node', '1,234 nodes'])
    expect(plural(2, 'entry', 'entries')).toBe('2 entries')
  })

  test('blocks are named as people count them', () => {
    expect(blocks(12, 19)).toBe('12–18')
    expect(blocks(5, 6)).toBe('5')
  })

  test('peers are told apart by their ends, reasons are sentences', () => {
    expect(shortPeer('12D3KooWKmSjezr6CaBZ')).toBe('…ezr6CaBZ')
    expect(shortPeer('short')).toBe('short')
    expect(sentence('lost blocks 3-6 at x, blocks 0-1')).toBe('Lost blocks 3–5 at x, blocks 0.')
    expect([sentence('hosting nothing'), sentence('It is.'), sentence('')]).toEqual([
      'Hosting nothing.',
      'It is.',
      ''
    ])
  })
})
