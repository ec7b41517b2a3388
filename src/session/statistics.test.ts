import { expect, test } from 'vitest'
import { HopStatistics } from './statistics.ts'

function frame(rows: number, computeMicroseconds: number) {
  const sizes = { bytesIn: 4, bytesOut: 100 * rows }
  return { epoch: 0, position: 0, rows, queueMicroseconds: 500, computeMicroseconds, ...sizes }
}

test('figures are of tokens in frames of their own, whatever windows and prompts took', () => {
  const statistics = new HopStatistics()
  for (const timing of [
    frame(128, 90_000),
    frame(1, 2_000),
    frame(16, 9_000),
    frame(1, 4_000),
    frame(1, 3_000)
  ])
    statistics.add(timing)
  expect(statistics.figures).toEqual({ queueMs: 0.5, computeMs: 3, bytesOut: 100, tokens: 3, rows: 147 })
})

test('nothing is known of what rows cost before there were frames', () => {
  const statistics = new HopStatistics()
  expect(statistics.cost).toBeUndefined()
  statistics.add(frame(128, 64_000))
  expect(statistics.cost).toBeUndefined()
  statistics.add(frame(1, 2_000))
  expect(statistics.cost).toEqual({ frameMs: 2, rowMs: 0.5 }) // as a prompt's do
})

test('what a row more costs is learned from windows, and one hiccup changes nothing', () => {
  const statistics = new HopStatistics()
  for (let count = 0; count < 6; count++)
    for (const rows of [1, 4, 9, 16]) statistics.add(frame(rows, 1_800 + 200 * rows))
  statistics.add(frame(2, 500_000))
  expect(statistics.cost?.rowMs).toBeCloseTo(0.2, 2)
  expect(statistics.cost?.frameMs).toBeCloseTo(3.6, 5)
})
