import { describe, expect, test } from 'vitest'
import type { NodeReport, SharingSettings } from '../api/node.ts'
import { PRESETS, presetOf, toggled } from './schedule.ts'
import { changesOf, draftOf, problemOf } from './settings.ts'

const settings: SharingSettings = {
  ...{ memoryBytes: 4.5e9, threads: null, diskBytes: null, uploadBytesPerSecond: 2_500_000 },
  ...{ downloadBytesPerSecond: null, schedule: null, idleOnly: false, onBattery: false, models: null }
}
const machine: NodeReport['machine'] = {
  ...{
    cores: 8,
    memoryBytes: 16e9,
    memoryFreeBytes: 9e9,
    hasBattery: false,
    canTellIdle: true,
    defaultMemoryBytes: 4e9
  }
}

describe('limits', () => {
  test('are shown in units of people, and nothing has changed then', () => {
    const draft = draftOf(settings)
    expect(draft).toMatchObject({ memoryGigabytes: '4.5', threads: '', uploadMegabytes: '2.5' })
    expect(changesOf(draft, settings)).toEqual({})
  })

  test('that changed are told in bytes, and those that are gone as none', () => {
    const draft = { ...draftOf(settings), memoryGigabytes: ' ', threads: '4', diskGigabytes: '0,5' }
    expect(changesOf(draft, settings)).toEqual({ memoryBytes: null, threads: 4, diskBytes: 500_000_000 })
  })

  test('say what is wrong with them', () => {
    expect(problemOf('memoryGigabytes', '', machine)).toBeUndefined()
    expect(problemOf('memoryGigabytes', '16', machine)).toBeUndefined()
    expect(problemOf('memoryGigabytes', '17', machine)).toContain('16 GB')
    expect(problemOf('memoryGigabytes', 'much', machine)).toContain('number')
    expect(problemOf('uploadMegabytes', '0', machine)).toContain('switch sharing off')
    expect(problemOf('threads', '1.5', machine)).toContain('whole')
    expect(problemOf('threads', '9', machine)).toContain('8 cores')
  })
})

describe('schedules', () => {
  test('are known again as what they were chosen as', () => {
    expect(PRESETS.map(({ schedule }) => presetOf(schedule))).toEqual(PRESETS.map(({ id }) => id))
    expect(presetOf(toggled(null, 0, 12))).toBe('own')
  })

  test('have an hour less, and again', () => {
    const without = toggled(null, 6, 23)
    expect([without.length, without[5]?.length, without[6]?.length]).toEqual([7, 24, 23])
    expect(toggled(without, 6, 23)[6]).toEqual(Array.from({ length: 24 }, (_, hour) => hour))
  })
})
