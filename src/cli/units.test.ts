import { expect, test } from 'vitest'
import { bytes, rate } from './options.ts'
import { ranges, size, table, time } from './units.ts'

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1_000, '1.00 kB'],
  [9_994, '9.99 kB'],
  [9_999, '10.0 kB'],
  [99_990, '100 kB'],
  [999_600, '1.00 MB'],
  [1_851_328, '1.85 MB'],
  [42_500_000_000, '42.5 GB'],
  [5e15, '5000 TB']
])('%i bytes are %s', (count, words) => {
  expect(size(count)).toBe(words)
})

test.each([
  [0.2, '1 s'],
  [99, '99 s'],
  [100, '2 min'],
  [7_200, '2 h'],
  [200_000, '2 days']
])('%d seconds are %s', (seconds, words) => {
  expect(time(seconds)).toBe(words)
})

test('neighbours are one range, whose end is not in it', () => {
  expect([ranges([]), ranges([4]), ranges([0, 1, 2, 5, 7, 8])]).toEqual(['', '4-5', '0-3, 5-6, 7-9'])
})

test('columns are as wide as what is in them, and nothing trails', () => {
  expect(
    table([
      ['a', 'bc', ''],
      ['abc', 'd', 'e'],
      ['', '', '']
    ])
  ).toEqual(['a    bc', 'abc  d   e', ''])
})

test('rates are amounts per second', () => {
  expect([rate('2MB'), rate('500kB/s'), rate('1GiB/sec')]).toEqual([2e6, 5e5, 2 ** 30])
  expect(bytes('2MB')).toBe(2e6)
  expect(() => rate('0')).toThrow('at least 1KB')
})
