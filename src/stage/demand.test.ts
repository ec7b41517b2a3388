import { expect, test } from 'vitest'
import { Demand } from './demand.ts'

test('demand follows what is asked for, in steps of two', () => {
  let now = 0
  const demand = new Demand({ now: () => now })
  expect(demand.perMinute).toBe(0)
  // Six per minute for an hour.
  for (; now < 3_600_000; now += 10_000) demand.add()
  expect(demand.perMinute).toBe(6.4)
  now += 5 * 60_000
  expect([1.6, 3.2]).toContain(demand.perMinute)
  now += 90 * 60_000
  expect(demand.perMinute).toBe(0)
})

test('what few requests are told as does not depend on how many nodes share them', () => {
  let now = 0
  const demand = new Demand({ now: () => now })
  demand.add()
  let told = 0
  for (; now < 3_600_000; now += 1_000) told += demand.perMinute / 60
  expect(told).toBeGreaterThan(0.9)
  expect(told).toBeLessThan(1.1)
})
