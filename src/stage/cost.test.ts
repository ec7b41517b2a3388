import { describe, expect, test } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import { StepCost } from './cost.ts'

const decode = (decodeRows: number): { decodeRows: number; promptRows: number } => ({
  decodeRows,
  promptRows: 0
})

describe('predictions', () => {
  test('are none before anything was measured', () => {
    expect(new StepCost().predict(1)).toBe(0)
  })

  test('follow what is measured, for fewer and for more rows', () => {
    const cost = new StepCost()
    const ms = (rows: number): number => 20 + 0.5 * rows
    for (let step = 0; step < 50; step++) {
      cost.measured(decode(4), ms(4))
      cost.measured({ decodeRows: 4, promptRows: 60 }, ms(64))
    }
    for (const rows of [1, 4, 32, 256]) expect(cost.predict(rows)).toBeCloseTo(ms(rows), 0)
    for (let step = 0; step < 50; step++) cost.measured(decode(4), 3 * ms(4))
    expect(cost.predict(4)).toBeCloseTo(3 * ms(4), 0)
  })

  test('follow steps with and without windows of guesses', () => {
    const cost = new StepCost()
    const random = randomOf('windows')
    const ms = (rows: number): number => 10 + 2 * rows
    for (let step = 0; step < 200; step++) {
      const rows = random() < 0.5 ? 1 : 1 + Math.floor(16 * random())
      cost.measured(decode(rows), ms(rows))
    }
    for (const rows of [1, 4, 8, 16, 32]) {
      expect(cost.predict(rows) / ms(rows)).toBeGreaterThan(0.7)
      expect(cost.predict(rows) / ms(rows)).toBeLessThan(1.3)
    }
  })

  test('are hardly moved by one bad step', () => {
    const cost = new StepCost()
    for (let step = 0; step < 50; step++) cost.measured(decode(1), 20)
    cost.measured(decode(1), 5_000)
    expect(cost.predict(1)).toBeLessThan(30)
  })

  test('grow with the rows where nothing like it was seen', () => {
    const cost = new StepCost()
    for (let step = 0; step < 5; step++) cost.measured(decode(2), 20)
    expect(cost.predict(64)).toBe(640)
  })
})

describe('prompt rows', () => {
  test('beside decode rows wait for a step without any', () => {
    const cost = new StepCost()
    cost.measured({ decodeRows: 0, promptRows: 128 }, 100)
    expect(cost.promptRowsWithin(1_000, 4)).toBe(0)
    cost.measured(decode(4), 24)
    expect(cost.promptRowsWithin(1_000, 4)).toBeGreaterThan(0)
  })

  test('are as many as the time allows, and never none', () => {
    const cost = new StepCost()
    for (let step = 0; step < 50; step++) {
      cost.measured(decode(4), 24)
      cost.measured({ decodeRows: 4, promptRows: 40 }, 64)
    }
    expect(cost.promptRowsWithin(72, 4)).toBeCloseTo(48, -1)
    expect([cost.promptRowsWithin(1, 4), cost.promptRowsWithin(0, 0)]).toEqual([2, 2])
  })

  test('are learned from small steps only as far as larger ones allow', () => {
    const cost = new StepCost()
    cost.measured({ decodeRows: 0, promptRows: 128 }, 384)
    for (let step = 0; step < 5; step++) cost.measured(decode(1), 15)
    // A batch of two takes another kernel than a row alone; that says nothing of a row more.
    for (let step = 0; step < 5; step++) cost.measured({ decodeRows: 1, promptRows: 2 }, 32)
    expect(cost.promptRowsWithin(75, 1)).toBeGreaterThanOrEqual(19)
  })
})

// A machine whose load comes and goes: each batch takes some times what it should, and now and then far more.
test('fewer than one batch in 10,000 passes its deadline on a loaded machine', () => {
  const random = randomOf('load')
  const cost = new StepCost()
  let load = 1
  let alarms = 0
  for (let step = 0; step < 100_000; step++) {
    load = Math.min(8, Math.max(1, load * Math.exp((random() - 0.5) * 0.4)))
    const rows = { decodeRows: 1 + Math.floor(random() * 8), promptRows: random() < 0.3 ? 30 : 0 }
    const hiccup = random() < 0.001 ? random() * 1_500 : 0
    const ms = (200 + 5 * (rows.decodeRows + rows.promptRows)) * load * (0.7 + random()) + hiccup
    if (ms > cost.deadlineMs(rows)) alarms += 1
    cost.measured(rows, ms)
  }
  expect(alarms).toBeLessThan(10)
})
