import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { nextWindow } from './windows.ts'

test.each([
  ["a long prompt's first rows", { fed: 0, certain: 4_000, end: 4_000, capacity: 8_192 }, '64 none'],
  ["a short one's, an eighth", { fed: 0, certain: 200, end: 200, capacity: 512 }, '25 none'],
  ['its end, which is drawn after', { fed: 24, certain: 40, end: 50, capacity: 512 }, '16 last'],
  ['a part of it, for lack of room', { fed: 24, certain: 40, end: 50, capacity: 30 }, '6 none'],
  ['guesses behind it', { fed: 200, certain: 200, end: 203, capacity: 512 }, '3 all'],
  ['a token alone', { fed: 200, certain: 201, end: 201, capacity: 512 }, '1 last'],
  ['a token with guesses', { fed: 200, certain: 201, end: 240, capacity: 512 }, '16 all'],
  ['a guess alone', { fed: 201, certain: 201, end: 202, capacity: 512 }, '1 all'],
  ['no more than there is room for', { fed: 200, certain: 201, end: 240, capacity: 203 }, '3 all'],
  ['nothing without room', { fed: 200, certain: 201, end: 240, capacity: 200 }, 'nothing'],
  ['nothing when all has left', { fed: 203, certain: 201, end: 203, capacity: 512 }, 'nothing'],
  ['nothing of guesses that are void', { fed: 210, certain: 201, end: 203, capacity: 512 }, 'nothing']
])('%s', (_, waiting, expected) => {
  const next = nextWindow(waiting)
  expect(next === undefined ? 'nothing' : `${next.count} ${next.sample}`).toBe(expected)
})

test('exactly the rows from the last certain id on are drawn after', () => {
  fc.assert(
    fc.property(fc.nat(400), fc.nat(60), fc.nat(500), (certain, guesses, capacity) => {
      const end = certain + 1 + guesses
      const drawn: number[] = []
      let fed = 0
      for (;;) {
        const next = nextWindow({ fed, certain: certain + 1, end, capacity })
        if (next === undefined) break
        for (let row = 0; row < next.count; row++) {
          if (next.sample === 'all' || (next.sample === 'last' && row === next.count - 1))
            drawn.push(fed + row)
        }
        fed += next.count
      }
      expect(fed).toBe(Math.min(end, capacity))
      expect(drawn).toEqual(Array.from({ length: Math.max(0, fed - certain) }, (_, row) => certain + row))
    })
  )
})
