import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { DEMO, startEngine } from '../engine/testing.ts'
import { Batcher, type Lane } from './batcher.ts'
import { ArithmeticEngine } from './testing.ts'
import { watch } from './watchdog.ts'

/** Milliseconds that this process's clock is ahead of what its timers have seen. */
let skew: number

function fakeTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  const now = performance.now.bind(performance)
  skew = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now() + skew)
}

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

/** Time passes while this process stands still: its timers fire when it is over. */
async function standStill(ms: number): Promise<void> {
  skew += ms
  await vi.advanceTimersByTimeAsync(0)
}

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
}

describe('watch', () => {
  beforeEach(fakeTime)

  test('calls once when its time is over, unless it was told to stop', async () => {
    const expired = vi.fn()
    const stopped = vi.fn()
    watch(1_000, expired)
    const stop = watch(1_000, stopped)
    await pass(999)
    stop()
    expect(expired).not.toHaveBeenCalled()
    await pass(1)
    expect(expired).toHaveBeenCalledExactlyOnceWith(1_000)
    await pass(10_000)
    expect(expired).toHaveBeenCalledTimes(1)
    expect(stopped).not.toHaveBeenCalled()
  })

  test.each([100, 990])(
    'does not count what this process slept through, %i ms after it began',
    async (at) => {
      const expired = vi.fn()
      watch(1_000, expired)
      await pass(at)
      await standStill(60_000)
      await pass(Math.max(1_000 - at, 250) - 1)
      expect(expired).not.toHaveBeenCalled()
      await pass(500)
      expect(expired).toHaveBeenCalledTimes(1)
    }
  )

  test('says nothing while it is held up again and again', async () => {
    const expired = vi.fn()
    watch(1_000, expired)
    for (let time = 0; time < 20; time++) {
      await pass(200)
      await standStill(300)
    }
    await pass(50)
    expect(expired).not.toHaveBeenCalled()
  })
})

class SimpleLane implements Lane {
  readonly sequence: number
  readonly owner = 'one'
  readonly leaveAfter = undefined
  computedRows = 0
  failures: string[] = []
  changed = Promise.withResolvers<void>()
  #position = 0
  readonly #batcher: Batcher

  constructor(batcher: Batcher, sequence = 0) {
    this.#batcher = batcher
    this.sequence = sequence
    batcher.add(this)
  }

  push(count: number): Promise<void> {
    const tokens = Int32Array.from({ length: count }, () => 1)
    this.changed = Promise.withResolvers()
    this.#batcher.push(this, { epoch: 0, position: this.#position, tokens, sample: 'last' })
    this.#position += count
    return this.changed.promise
  }

  cut(length: number): Promise<number> {
    return this.#batcher.truncate(this, length)
  }

  computed({ rows }: { rows: { tokens: Int32Array } }): void {
    this.computedRows += rows.tokens.length
    this.changed.resolve()
  }

  failed(_code: string, message: string): void {
    this.failures.push(message)
    this.changed.resolve()
  }
}

describe('an engine', () => {
  let engine: ArithmeticEngine
  let lane: SimpleLane
  let deaths: string[]

  beforeEach(() => {
    fakeTime()
    engine = new ArithmeticEngine({ maxRows: 512 })
    engine.duration = () => 20
    lane = new SimpleLane(new Batcher(engine))
    deaths = []
    engine.onStateChange((state, detail) => {
      if (state === 'died') deaths.push(detail)
    })
  })

  async function decode(count: number): Promise<void> {
    for (let row = 0; row < count; row++) {
      void lane.push(1)
      await pass(engine.duration(1))
    }
  }

  test('that hangs is restarted after a second', async () => {
    await decode(10)
    engine.duration = () => 1e9
    void lane.push(1)
    await pass(999)
    expect(deaths).toEqual([])
    await pass(1)
    expect(deaths).toEqual(['it hangs: a batch of 1 rows took over 1000 ms, 20 were expected'])
    expect(lane.failures).toEqual([deaths[0]])
  })

  test('that hangs while it cuts a sequence is restarted, too', async () => {
    await decode(10)
    engine.pause()
    const cut = lane.cut(5)
    await pass(999)
    expect(deaths).toEqual([])
    await pass(1)
    expect(deaths).toEqual(['it hangs: cutting a sequence took over 1000 ms'])
    expect(await cut).toBe(0)
  })

  test('whose batches take long hangs after four times that', async () => {
    engine.duration = () => 2_000
    await decode(10)
    engine.duration = () => 1e9
    void lane.push(1)
    await pass(7_999)
    expect(deaths).toEqual([])
    await pass(1)
    expect(deaths).toHaveLength(1)
  })

  test('that was much slower than usual lately may be so again', async () => {
    engine.duration = () => 500
    await decode(10)
    engine.duration = () => 1_900
    await decode(1)
    engine.duration = () => 5_000
    await decode(1)
    expect(deaths).toEqual([])
  })

  test('of which nothing is known has a minute, and one with many rows more', async () => {
    engine.duration = () => 59_000
    await decode(1)
    engine.duration = () => 120_000
    void lane.push(128)
    await pass(120_000)
    expect([lane.computedRows, deaths]).toEqual([129, []])
  })

  test('has longer for more rows than it ever had', async () => {
    engine.duration = (rows) => 500 * rows
    const batcher = new Batcher(engine)
    const lanes = Array.from({ length: 16 }, (_, index) => new SimpleLane(batcher, index + 1))
    for (let row = 0; row < 10; row++) {
      void lanes[0]?.push(1)
      await pass(500)
    }
    engine.duration = (rows) => 1_900 * rows
    for (const each of lanes) void each.push(1)
    await pass(1_900 * 16 + 5_000) // the first is waited for
    expect(deaths).toEqual([])
    expect(lanes.map(({ computedRows }) => computedRows)).toEqual([11, ...Array(15).fill(1)])
  })

  test('that comes back is unknown again', async () => {
    await decode(10)
    engine.duration = () => 1e9
    void lane.push(1)
    await pass(1_000)
    expect(deaths).toHaveLength(1)
    const batcher = new Batcher(engine)
    expect(batcher.predictedMs).toBe(0)
  })

  test('is not blamed for the time that this process stood still', async () => {
    await decode(10)
    engine.duration = () => 700
    void lane.push(1)
    await pass(500)
    await standStill(30_000)
    await pass(200)
    expect(lane.computedRows).toBe(11)
    expect(deaths).toEqual([])
  })
})

test('a real engine that is stopped by a signal is replaced', async () => {
  const engine = await startEngine({ files: [DEMO] })
  const deaths: string[] = []
  const restarted = Promise.withResolvers<void>()
  engine.onStateChange((state, detail) => {
    if (state === 'died') deaths.push(detail)
    else restarted.resolve()
  })
  await engine.setSampler(0, { temperature: 0, seed: 0 })
  const lane = new SimpleLane(new Batcher(engine))
  for (let row = 0; row < 10; row++) await lane.push(1)
  expect([lane.computedRows, lane.failures]).toEqual([10, []])
  process.kill(engine.description.process, 'SIGSTOP')
  const started = performance.now()
  await lane.push(1)
  expect(lane.failures).toEqual([expect.stringContaining('it hangs: a batch of 1 rows')])
  expect(performance.now() - started).toBeGreaterThan(990)
  await restarted.promise
  expect(deaths).toHaveLength(1)
  await engine.stop()
})
