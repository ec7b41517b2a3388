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

describe('budgets', () => {
  test('beside decoding begin with a step that has no prompt, and see one again now and then', () => {
    const cost = new StepCost()
    cost.measured({ decodeRows: 0, promptRows: 128 }, 100)
    const probes: number[] = []
    for (let step = 0; step < 100; step++) {
      const promptRows = cost.promptRowsBeside(4)
      if (promptRows === 0) probes.push(step)
      cost.measured({ decodeRows: 4, promptRows }, 20 + 4 + promptRows)
    }
    expect(probes).toEqual([0, 33, 66, 99])
    expect(cost.promptRowsBeside(4)).toBeCloseTo(24, -1)
  })

  test('never come to nothing', () => {
    const cost = new StepCost()
    for (let step = 0; step < 5; step++) cost.measured(decode(1), 1)
    for (let step = 0; step < 5; step++) cost.measured({ decodeRows: 1, promptRows: 2 }, 1_000)
    expect([cost.promptRowsBeside(1), cost.promptRowsBetween(0)]).toEqual([2, 2])
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
