import fc from 'fast-check'
import { beforeEach, expect, test } from 'vitest'
import { ManualClock } from '../swarm/testing-clock.ts'
import { FairQueue, type Place } from './queue.ts'

const NEVER = new AbortController().signal
let clock: ManualClock

beforeEach(() => {
  clock = new ManualClock()
})

function queueOf(places: number, length = 1_000): FairQueue {
  return new FairQueue(clock, { places, length, waitMs: 60_000 })
}

test('owners take turns, and each keeps its order', async () => {
  const oneCase = fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 40 })
  await fc.assert(
    fc.asyncProperty(oneCase, async (owners) => {
      const queue = queueOf(1)
      const served: { readonly owner: number; readonly index: number }[] = []
      const holder = await queue.enter('holder', { signal: NEVER })
      const all = owners.map(async (owner, index) => {
        const place = await queue.enter(`${owner}`, { signal: NEVER })
        served.push({ owner, index })
        place.release()
      })
      holder.release()
      await Promise.all(all)
      expect(served).toHaveLength(owners.length)
      for (const owner of new Set(owners)) {
        const own = served.filter((entry) => entry.owner === owner).map(({ index }) => index)
        expect(own).toEqual([...own].sort((a, b) => a - b))
        // Between two of one owner, every other that waits is served once.
        own.slice(1).forEach((index, turn) => {
          const from = served.findIndex((entry) => entry.index === own[turn])
          const to = served.findIndex((entry) => entry.index === index)
          const between = served.slice(from + 1, to).map((entry) => entry.owner)
          const waiting = new Set(served.slice(from + 1).map((entry) => entry.owner))
          waiting.delete(owner)
          expect(between.toSorted()).toEqual([...waiting].toSorted())
        })
      }
      expect([queue.active, queue.length]).toEqual([0, 0])
    })
  )
})

test('neither places nor owners go beyond their limits, and nothing leaks, whoever leaves when', async () => {
  const entry = fc.record({
    owner: fc.nat({ max: 3 }),
    places: fc.integer({ min: 1, max: 3 }),
    leaves: fc.boolean()
  })
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 30 }), async (entries) => {
      const queue = queueOf(3, 12)
      const held = new Map<number, number>()
      const controllers: AbortController[] = []
      const all = entries.map(async ({ owner, places, leaves }) => {
        const controller = new AbortController()
        if (leaves) controllers.push(controller)
        let place: Place
        try {
          place = await queue.enter(`${owner}`, { signal: controller.signal, places, concurrency: 2 })
        } catch {
          return
        }
        const taken = Math.min(places, 2)
        held.set(owner, (held.get(owner) ?? 0) + taken)
        expect(held.get(owner)).toBeLessThanOrEqual(2)
        expect(queue.active).toBeLessThanOrEqual(3)
        await Promise.resolve()
        held.set(owner, (held.get(owner) ?? 0) - taken)
        place.release()
        place.release()
      })
      expect(queue.length).toBeLessThanOrEqual(12)
      for (const controller of controllers) controller.abort()
      await Promise.all(all)
      expect([queue.active, queue.length]).toEqual([0, 0])
    })
  )
})

test('a full queue is told apart from an owner with too many', async () => {
  const queue = queueOf(1, 2)
  await queue.enter('a', { signal: NEVER })
  void queue.enter('a', { signal: NEVER, waiting: 1 })
  await expect(queue.enter('a', { signal: NEVER, waiting: 1 })).rejects.toMatchObject({
    code: 'LIMITED',
    data: { retryAfterSeconds: 20 }
  })
  void queue.enter('b', { signal: NEVER, waiting: 1 })
  await expect(queue.enter('c', { signal: NEVER })).rejects.toMatchObject({
    code: 'BUSY',
    data: { retryAfterSeconds: 30, position: 3 }
  })
})

test('the wait ends, and who leaves makes room at once', async () => {
  const queue = queueOf(1, 1)
  await queue.enter('a', { signal: NEVER })
  const late = queue.enter('b', { signal: NEVER })
  const said = expect(late).rejects.toMatchObject({ code: 'BUSY' })
  await clock.advance(60_000)
  await said
  const controller = new AbortController()
  const gone = queue.enter('b', { signal: controller.signal })
  expect(queue.length).toBe(1)
  controller.abort(new Error('gone'))
  await expect(gone).rejects.toThrow('gone')
  expect(queue.length).toBe(0)
})

test('positions count turns, and are told as they change', async () => {
  const queue = queueOf(1)
  const first = await queue.enter('a', { signal: NEVER })
  const positions: Record<string, number[]> = { a1: [], a2: [], b1: [] }
  const wait = (owner: string, name: string): Promise<Place> =>
    queue.enter(owner, { signal: NEVER, onPosition: (position) => void positions[name]?.push(position) })
  const a1 = wait('a', 'a1')
  void wait('a', 'a2')
  const b1 = wait('b', 'b1')
  expect(positions).toEqual({ a1: [1], a2: [2], b1: [2] })
  first.release()
  const place = await a1
  expect(positions.b1).toEqual([2, 1])
  place.release()
  expect((await b1).position).toBe(2)
  expect(positions.a2).toEqual([2, 1])
})

test('when to try again follows how long places are held', async () => {
  const queue = queueOf(1)
  for (let turn = 0; turn < 50; turn++) {
    const place = await queue.enter('a', { signal: NEVER })
    await clock.advance(2_000)
    place.release()
  }
  expect(queue.retrySeconds).toBe(3)
})

test('who wants many places is not overtaken forever', async () => {
  const queue = queueOf(2)
  const one = await queue.enter('a', { signal: NEVER })
  const many = queue.enter('b', { signal: NEVER, places: 5 })
  let isFirst = true
  void queue.enter('c', { signal: NEVER }).then(() => {
    isFirst = false
  })
  one.release()
  await many
  expect(isFirst).toBe(true)
  expect(queue.active).toBe(2)
})

test('whoever waits for its own others holds nobody up', async () => {
  const queue = queueOf(3, 1)
  await queue.enter('a', { signal: NEVER, concurrency: 1 })
  void queue.enter('a', { signal: NEVER, concurrency: 1 })
  await queue.enter('b', { signal: NEVER, concurrency: 1 })
  expect([queue.active, queue.length]).toEqual([2, 1])
})
