import { expect, test } from 'vitest'
import type { ChainChange, Hop } from '../api/completions.ts'
import { tookOver } from './repairs.ts'

const hop = (peer: string, start: number, end: number): Hop => ({
  ...{ peer, start, end, queueMs: 0, computeMs: 1, bytesOut: 1 }
})

test('the hop that took over is told from those that stayed', () => {
  const changes: ChainChange[] = [
    { change: 'lost', message: 'lost blocks 3-6 at nAbQ6m47: it is leaving' },
    { change: 'repaired', message: 'going on with blocks 0-3 at aaaaaaaa, blocks 3-6 at bbbbbbbb' }
  ]
  expect(tookOver(hop('12D3aaaaaaaa', 0, 3), changes)).toBe(false)
  expect(tookOver(hop('12D3bbbbbbbb', 3, 6), changes)).toBe(true)
  expect(tookOver(hop('12D3cccccccc', 3, 6), changes)).toBe(false)
  expect(tookOver(hop('12D3bbbbbbbb', 3, 6), [{ change: 'lost', message: 'lost' }])).toBe(false)
})
