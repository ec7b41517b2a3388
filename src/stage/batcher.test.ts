import { beforeEach, describe, expect, test } from 'vitest'
import type { EngineDescription } from '../engine/index.ts'
import { EngineError } from '../engine/index.ts'
import type { RefusalCode, SampleMode } from '../net/index.ts'
import { Batcher, type Computed, type Lane } from './batcher.ts'
import { ArithmeticEngine, nextToken } from './testing.ts'

/** A lane that keeps what it was told. */
class RecordingLane implements Lane {
  readonly results: Computed[] = []
  readonly failures: { code: RefusalCode; message: string }[] = []
  readonly sequence: number
  readonly owner = 'one'
  readonly leaveAfter: number | undefined
  #wanted = { rows: Number.POSITIVE_INFINITY, resolve: () => {} }

  constructor(sequence: number, leaveAfter?: number) {
    this.sequence = sequence
    this.leaveAfter = leaveAfter
  }

  get rows(): number {
    return this.results.reduce((sum, { rows }) => sum + rows.tokens.length, 0)
  }

  get sampled(): number[] {
    return this.results.flatMap(({ result }) => [...(result.sampled ?? [])])
  }

  computed(value: Computed): void {
    this.results.push(value)
    if (this.rows >= this.#wanted.rows) this.#wanted.resolve()
  }

  failed(code: RefusalCode, message: string): void {
    this.failures.push({ code, message })
    this.#wanted.resolve()
  }

  /** Resolves when so many rows were computed, or the lane failed. */
  has(rows: number): Promise<void> {
    if (this.rows >= rows || this.failures.length > 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wanted = { rows, resolve }
    })
  }
}

let engine: ArithmeticEngine
let batcher: Batcher

function begin(limits: Partial<EngineDescription> = {}): void {
  engine = new ArithmeticEngine(limits)
  batcher = new Batcher(engine)
}

beforeEach(() => begin())

function lanes(count: number, leaveAfter?: number): RecordingLane[] {
  return Array.from({ length: count }, (_, sequence) => {
    const lane = new RecordingLane(sequence, leaveAfter)
    batcher.add(lane)
    return lane
  })
}

function push(lane: Lane, position: number, count: number, sample: SampleMode = 'last', first = 1): void {
  const tokens = Int32Array.from({ length: count }, (_, index) => first + position + index)
  batcher.push(lane, { epoch: 0, position, tokens, sample })
}

/** Rows of each sequence, by batch. */
function batches(): Record<number, number>[] {
  return engine.batches.map((groups) =>
    Object.fromEntries(groups.map(({ sequence, tokens }) => [sequence, tokens.length]))
  )
}

describe('one step', () => {
  test('takes the decode rows of all lanes', async () => {
    const all = lanes(5)
    const resume = engine.pause()
    push(all[0] as Lane, 0, 1) // runs alone; the others come while it does
    for (const lane of all.slice(1)) push(lane, 0, 1)
    resume()
    await Promise.all(all.map((lane) => lane.has(1)))
    expect(batches()).toEqual([{ 0: 1 }, { 1: 1, 2: 1, 3: 1, 4: 1 }])
    expect(all.map(({ sampled }) => sampled)).toEqual(all.map(() => [nextToken([1])]))
  })

  test('has a prompt in pieces', async () => {
    begin({ maxRows: 32 })
    const [prompt] = lanes(1) as [RecordingLane]
    push(prompt, 0, 100)
    await prompt.has(100)
    expect(batches()).toEqual([{ 0: 32 }, { 0: 32 }, { 0: 32 }, { 0: 4 }])
    // Only the prompt's last piece draws, and from all of its ids.
    const ids = Array.from({ length: 100 }, (_, index) => index + 1)
    expect(prompt.sampled).toEqual([nextToken(ids)])
    expect(prompt.results.map(({ rows }) => rows.position)).toEqual([0, 32, 64, 96])
  })

  test('of a prompt waits neither for its own last rows nor for a session that has ended', async () => {
    begin({ maxRows: 512 })
    engine.duration = (rows) => 2 + rows / 20
    const [talker, prompt] = lanes(2) as [RecordingLane, RecordingLane]
    for (let position = 0; position < 12; position++) {
      push(talker, position, 1)
      await talker.has(position + 1)
    }
    const started = performance.now()
    push(prompt, 0, 128, 'none')
    push(prompt, 128, 128, 'none')
    push(prompt, 256, 7)
    await prompt.has(263)
    expect(performance.now() - started).toBeLessThan(600) // it was a second for each
  })

  test('begins with those who were not in the last one', async () => {
    begin({ maxRows: 4 })
    const all = lanes(6)
    const resume = engine.pause()
    for (let position = 0; position < 2; position++) for (const lane of all) push(lane, position, 1)
    resume()
    await Promise.all(all.map((lane) => lane.has(2)))
    // The first push runs at once, with nobody beside it.
    expect(batches().map((batch) => Object.keys(batch).map(Number))).toEqual([
      [0],
      [1, 2, 3, 4],
      [0, 1, 2, 5],
      [3, 4, 5]
    ])
  })

  test.each([
    ['the tail', undefined],
    ['a stage in the middle', 1]
  ])('at %s has the windows of a lane that wait together, up to 16 rows', async (_, leaveAfter) => {
    const [lane, other] = lanes(2, leaveAfter) as [RecordingLane, RecordingLane]
    const resume = engine.pause()
    push(lane, 0, 1) // runs alone
    push(lane, 1, 1)
    push(lane, 2, 8, 'all')
    push(lane, 10, 6, 'all')
    push(lane, 16, 8, 'all')
    push(other, 0, 1)
    push(other, 1, 1) // no guess: the next question may follow what was drawn after
    resume()
    await Promise.all([lane.has(24), other.has(2)])
    expect(batches()).toEqual([{ 0: 1 }, { 0: 15, 1: 1 }, { 0: 8, 1: 1 }])
    expect(lane.results[1]?.rows).toMatchObject({ position: 1, sample: 'all' })
  })

  test('never joins what epochs divide', async () => {
    const [lane] = lanes(1) as [RecordingLane]
    const resume = engine.pause()
    push(lane, 0, 1)
    push(lane, 1, 4, 'all')
    batcher.push(lane, { epoch: 1, position: 5, tokens: Int32Array.of(1, 2), sample: 'all' })
    resume()
    await lane.has(7)
    expect(batches()).toEqual([{ 0: 1 }, { 0: 4 }, { 0: 2 }])
  })

  test('shares the rows of a step between prompts in turn', async () => {
    begin({ maxRows: 32 })
    const all = lanes(3)
    const resume = engine.pause()
    for (const lane of all) push(lane, 0, 96)
    resume()
    await Promise.all(all.map((lane) => lane.has(96)))
    const order = engine.batches.map((groups) => groups.map(({ sequence }) => sequence))
    expect(order).toEqual([[0], [1], [2], [0], [1], [2], [0], [1], [2]])
  })
})

describe('logits', () => {
  test('are never more than the engine gives at once', async () => {
    begin({ maxOutputs: 4 })
    const all = lanes(3)
    const resume = engine.pause()
    for (const lane of all) push(lane, 0, 6, 'all')
    resume()
    await Promise.all(all.map((lane) => lane.has(6)))
    for (const batch of batches()) {
      expect(Object.values(batch).reduce((sum, rows) => sum + rows, 0)).toBeLessThanOrEqual(4)
    }
    // Guessed wrong: no piece of six rows draws more than once.
    const drawn = [1, 2, 3, 4, 5, 6].map((_, index, ids) => nextToken(ids.slice(0, index + 1)))
    for (const { sampled } of all) {
      expect(drawn).toEqual(expect.arrayContaining(sampled))
      expect(sampled.length).toBeGreaterThan(1)
    }
  })

  test('that are all taken do not hold up a prompt, but for its last row', async () => {
    begin({ maxOutputs: 2 })
    const [first, second, prompt] = lanes(3) as [RecordingLane, RecordingLane, RecordingLane]
    const resume = engine.pause()
    push(first, 0, 1)
    push(first, 1, 1)
    push(second, 0, 1)
    push(prompt, 0, 20)
    resume()
    await prompt.has(20)
    expect(first.sampled.length + second.sampled.length).toBe(3)
    expect(prompt.sampled).toEqual([nextToken(Array.from({ length: 20 }, (_, index) => index + 1))])
    const draws = engine.batches.map((groups) => groups.filter(({ output }) => output !== 'none').length)
    expect(Math.max(...draws)).toBe(2)
  })

  test('are no matter where hidden states go on', async () => {
    begin({ maxOutputs: 1 })
    const all = lanes(4, 1)
    const resume = engine.pause()
    for (const lane of all) push(lane, 0, 8)
    resume()
    await Promise.all(all.map((lane) => lane.has(8)))
    expect(batches()).toEqual([{ 0: 8 }, { 1: 8, 2: 8, 3: 8 }])
    expect(all[3]?.results[0]?.result.hidden).toHaveLength(16)
  })
})

describe('truncate', () => {
  test('trims rows that wait, and what they follow stays', async () => {
    const [lane] = lanes(1) as [RecordingLane]
    const resume = engine.pause()
    push(lane, 0, 4)
    push(lane, 4, 4)
    push(lane, 8, 4)
    expect(await batcher.truncate(lane, 6)).toBe(6)
    expect(batcher.waitingRows(lane)).toBe(2)
    push(lane, 6, 1, 'last', 100)
    resume()
    await lane.has(7)
    expect(engine.histories[0]).toEqual([1, 2, 3, 4, 5, 6, 106])
    // The rows that were cut in the middle draw nothing: the row they drew after is gone.
    expect(lane.sampled).toEqual([nextToken([1, 2, 3, 4]), nextToken([1, 2, 3, 4, 5, 6, 106])])
  })

  test('cuts the sequence after the batch that is under way, and holds the lane until then', async () => {
    const [lane, other] = lanes(2) as [RecordingLane, RecordingLane]
    const resume = engine.pause()
    push(lane, 0, 8)
    const cut = batcher.truncate(lane, 3)
    push(lane, 3, 1, 'last', 100)
    push(other, 0, 1)
    resume()
    expect(await cut).toBe(3)
    await Promise.all([lane.has(9), other.has(1)])
    expect(engine.histories[0]).toEqual([1, 2, 3, 103])
    expect(lane.failures).toEqual([])
  })

  test('that the engine cannot do ends the lane', async () => {
    const [lane] = lanes(1) as [RecordingLane]
    push(lane, 0, 8)
    await lane.has(8)
    engine.truncate = () => Promise.reject(new EngineError('DIED', 'gone'))
    expect(await batcher.truncate(lane, 3)).toBe(0)
    expect(lane.failures).toEqual([{ code: 'engine', message: 'gone' }])
  })
})

test('a lane on hold waits, others do not', async () => {
  const [held, other] = lanes(2) as [RecordingLane, RecordingLane]
  batcher.hold(held)
  batcher.hold(held)
  push(held, 0, 1)
  push(other, 0, 1)
  await other.has(1)
  batcher.resume(held)
  push(other, 1, 1)
  await other.has(2)
  expect(held.rows).toBe(0)
  batcher.resume(held)
  await held.has(1)
  expect(batches()).toEqual([{ 1: 1 }, { 1: 1 }, { 0: 1 }])
})

describe('failures', () => {
  test('of a group are of its lane only', async () => {
    const [good, bad, full] = lanes(3) as [RecordingLane, RecordingLane, RecordingLane]
    engine.failing.set(1, new EngineError('COMPUTE', 'llama_decode gave up'))
    engine.failing.set(2, new EngineError('KV_FULL', 'no room'))
    const resume = engine.pause()
    for (const lane of [good, bad, full]) push(lane, 0, 2)
    resume()
    await Promise.all([good.has(2), bad.has(2), full.has(2)])
    expect(good.sampled).toEqual([nextToken([1, 2])])
    expect(bad.failures).toEqual([{ code: 'engine', message: 'llama_decode gave up' }])
    expect(full.failures).toEqual([{ code: 'full', message: 'no room' }])
  })

  test('of a batch that one lane spoiled leave the others their rows', async () => {
    const all = lanes(4)
    const [first, bad] = all as [RecordingLane, RecordingLane]
    engine.refusedTokens.add(666)
    const resume = engine.pause()
    push(first, 0, 1)
    for (const lane of all.slice(1)) push(lane, 0, 1, 'last', lane === bad ? 666 : 1)
    resume()
    await Promise.all(all.map((lane) => lane.has(1)))
    expect(all.map(({ failures }) => failures.map(({ code }) => code))).toEqual([[], ['input'], [], []])
    expect(all.map(({ rows }) => rows)).toEqual([1, 0, 1, 1])
  })

  test('of a batch that one lane spoiled bring back no rows that another cut meanwhile', async () => {
    const [good, bad] = lanes(2) as [RecordingLane, RecordingLane]
    engine.refusedTokens.add(666)
    const runFirst = engine.pause()
    push(good, 0, 4)
    const runSecond = engine.pause()
    push(bad, 0, 1, 'last', 666)
    push(good, 4, 3)
    const isUnderWay = new Promise<void>((resolve) => {
      const run = engine.run.bind(engine)
      engine.run = (groups) => {
        resolve()
        return run(groups)
      }
    })
    runFirst()
    await isUnderWay
    const cut = batcher.truncate(good, 5)
    runSecond()
    expect(await cut).toBe(4)
    await bad.has(1)
    push(good, 4, 1)
    await good.has(5)
    expect([good.rows, good.failures]).toEqual([5, []])
    expect(engine.histories[0]).toEqual([1, 2, 3, 4, 5])
  })

  test('of an engine that died are everybody’s', async () => {
    const all = lanes(3)
    engine.run = () => Promise.reject(new EngineError('DIED', 'gone'))
    for (const lane of all) push(lane, 0, 1)
    await Promise.all(all.map((lane) => lane.has(1)))
    expect(all.flatMap(({ failures }) => failures)).toEqual(
      all.map(() => ({ code: 'engine', message: 'gone' }))
    )
  })

  test('of a lane itself do not stop the loop', async () => {
    const [bad, good] = lanes(2) as [RecordingLane, RecordingLane]
    bad.computed = () => {
      throw new Error('cannot be sent')
    }
    const resume = engine.pause()
    push(good, 0, 1)
    push(bad, 0, 1)
    push(good, 1, 1)
    resume()
    await Promise.all([good.has(2), bad.has(1)])
    expect(bad.failures).toEqual([{ code: 'engine', message: 'cannot be sent' }])
    expect(good.rows).toBe(2)
  })

  test('failAll reaches lanes that have nothing to run', () => {
    const all = lanes(2)
    batcher.failAll('stopping', 'bye')
    expect(all.flatMap(({ failures }) => failures)).toEqual(
      all.map(() => ({ code: 'stopping', message: 'bye' }))
    )
  })
})

test('a lane that left hears nothing of what was under way', async () => {
  const [gone, other] = lanes(2) as [RecordingLane, RecordingLane]
  const resume = engine.pause()
  push(gone, 0, 1)
  batcher.remove(gone)
  push(other, 0, 1)
  resume()
  await other.has(1)
  expect([gone.rows, gone.failures]).toEqual([0, []])
})
