import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Turns } from './turns.ts'

test('owners who always have something get the same, to within one service', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 128 }), { minLength: 50, maxLength: 200 }), (services) => {
      const turns = new Turns()
      const served = new Map([...'abc'].map((owner) => [owner, 0]))
      for (const rows of services) {
        const owner = turns.next(served.keys()) as string
        turns.served(owner, rows)
        served.set(owner, (served.get(owner) ?? 0) + rows)
      }
      expect(Math.max(...served.values()) - Math.min(...served.values())).toBeLessThanOrEqual(128)
    })
  )
})

test('who comes late begins with the others, and saved nothing up', () => {
  const turns = new Turns()
  for (let time = 0; time < 10; time++) turns.served('a', 100)
  const order = Array.from({ length: 6 }, () => {
    const owner = turns.next(['a', 'b']) as string
    turns.served(owner, 100)
    return owner
  })
  expect(order.join('')).toBe('bababa')
})

test('nobody is next where nobody waits', () => {
  expect(new Turns().next([])).toBeUndefined()
})
