import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../swarm/testing-clock.ts'
import { Availability, type AvailabilityRules, type Conditions, conditionsHere } from './availability.ts'

const ALWAYS: AvailabilityRules = { schedule: null, idleOnly: false, onBattery: false }
const SECOND = 1_000

let clock: ManualClock
let rules: AvailabilityRules
let now: Conditions
/** Whatever was told, in order. */
let told: string[]

beforeEach(() => {
  clock = new ManualClock()
  rules = ALWAYS
  now = { weekday: 0, hour: 12 }
  told = []
})

async function begin(): Promise<Availability> {
  const availability = new Availability(
    { clock, conditions: () => now },
    { rules: () => rules, onChange: (obstacles) => void told.push([...obstacles].join()) }
  )
  await availability.start()
  return availability
}

test('where nothing is in the way, nothing is told', async () => {
  await begin()
  await clock.advance(3_600 * SECOND)
  expect(told).toEqual([])
})

test('the schedule holds at once, at the start, too', async () => {
  rules = { ...ALWAYS, schedule: [[13], [], [], [], [], [], []] }
  await begin()
  expect(told).toEqual(['schedule'])
  now = { weekday: 0, hour: 13 }
  await clock.advance(10 * SECOND)
  expect(told).toEqual(['schedule', ''])
  now = { weekday: 1, hour: 13 }
  await clock.advance(10 * SECOND)
  expect(told.at(-1)).toBe('schedule')
})

describe('the battery', () => {
  test('ends sharing at once; plugged in, it goes on after a while', async () => {
    await begin()
    now = { ...now, isOnBattery: true }
    await clock.advance(10 * SECOND)
    expect(told).toEqual(['battery'])
    now = { ...now, isOnBattery: false }
    await clock.advance(30 * SECOND)
    expect(told).toEqual(['battery'])
    await clock.advance(10 * SECOND)
    expect(told).toEqual(['battery', ''])
  })

  test('does not matter where the person says so, from then on', async () => {
    now = { ...now, isOnBattery: true }
    const availability = await begin()
    rules = { ...ALWAYS, onBattery: true }
    availability.look()
    expect(told).toEqual(['battery', ''])
  })
})

describe('other programs', () => {
  beforeEach(() => {
    rules = { ...ALWAYS, idleOnly: true }
  })

  test('have to be busy for a while, and calm for longer', async () => {
    await begin()
    now = { ...now, othersBusy: 0.9 }
    await clock.advance(30 * SECOND)
    expect(told).toEqual([])
    await clock.advance(10 * SECOND)
    expect(told).toEqual(['busy'])
    now = { ...now, othersBusy: 0.05 }
    await clock.advance(120 * SECOND)
    expect(told).toEqual(['busy'])
    await clock.advance(10 * SECOND)
    expect(told).toEqual(['busy', ''])
  })

  test('between the two thresholds it stays as it was', async () => {
    await begin()
    now = { ...now, othersBusy: 0.3 }
    await clock.advance(600 * SECOND)
    expect(told).toEqual([])
    now = { ...now, othersBusy: 0.5 }
    await clock.advance(60 * SECOND)
    now = { ...now, othersBusy: 0.3 }
    await clock.advance(600 * SECOND)
    expect(told).toEqual(['busy'])
  })

  test('whatever they do, sharing changes every two minutes and a half at most', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 200 }),
        async (loads) => {
          clock = new ManualClock()
          told = []
          await begin()
          for (const othersBusy of loads) {
            now = { ...now, othersBusy }
            await clock.advance(10 * SECOND)
          }
          expect(told.length).toBeLessThanOrEqual(Math.ceil(loads.length / 15) * 2)
        }
      ),
      { seed: 1, numRuns: 50 }
    )
  })

  test('where nobody can tell, it is not asked', async () => {
    await begin()
    now = { ...now, othersBusy: undefined }
    await clock.advance(600 * SECOND)
    expect(told).toEqual([])
  })
})

test.runIf(process.platform === 'linux')('what others do is a part of what all cores could', () => {
  const look = conditionsHere()
  look()
  const end = performance.now() + 300
  while (performance.now() < end) Math.sqrt(end)
  const { othersBusy = Number.NaN } = look()
  expect(othersBusy).toBeGreaterThanOrEqual(0)
  expect(othersBusy).toBeLessThanOrEqual(1)
})
