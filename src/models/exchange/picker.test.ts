import fc from 'fast-check'
import { expect, test } from 'vitest'
import { randomOf } from '../../swarm/testing-clock.ts'
import { Picker } from './picker.ts'

const SEED = 20_261_121

test('a picker finds the rarest that is offered, whatever happened before', () => {
  const step = fc.record({ index: fc.nat(15), act: fc.constantFrom('add', 'remove', 'more', 'less') })
  const property = fc.property(fc.array(step, { maxLength: 80 }), fc.nat(), (steps, seed) => {
    const picker = new Picker(randomOf(seed))
    const there = new Set<number>()
    const holders = Array<number>(16).fill(0)
    for (const { index, act } of steps) {
      if (act === 'add') picker.add(index)
      if (act === 'add') there.add(index)
      if (act === 'remove') expect(picker.remove(index)).toBe(there.delete(index))
      const by = act === 'more' ? 1 : -1
      if (act === 'more' || (act === 'less' && (holders[index] as number) > 0)) {
        picker.count(index, by)
        holders[index] = (holders[index] as number) + by
      }
    }
    const isOffered = (index: number): boolean => index % 2 === 0
    const rarity = [...there].filter(isOffered).map((index) => holders[index] as number)
    const found = picker.find(isOffered)
    expect(found === undefined ? undefined : holders[found]).toBe(
      rarity.length > 0 ? Math.min(...rarity) : undefined
    )
    for (const index of Array(16).keys()) expect(picker.has(index)).toBe(there.has(index))
  })
  fc.assert(property, { seed: SEED, numRuns: 1_000 })
})

test('nodes begin with different pieces', () => {
  const firsts = [1, 2, 3, 4].map((seed) => {
    const picker = new Picker(randomOf(seed))
    for (let index = 0; index < 1_000; index++) picker.add(index)
    return picker.find(() => true)
  })
  expect(new Set(firsts).size).toBe(4)
})
