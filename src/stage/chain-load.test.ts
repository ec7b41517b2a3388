// Three stages in simulated time, with what a third of a 1.1B model takes on a core, on machines of their own and on
// two cores for all three.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { BatchResult, RowGroup } from '../engine/index.ts'
import { Batcher, type Computed, type Lane } from './batcher.ts'
import type { Rows } from './frames.ts'
import { ArithmeticEngine } from './testing.ts'

const HOP_MS = 1
const PROMPT = 2_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

/** As measured: a batch of two takes another kernel than a row alone. */
function batchMs(rows: number): number {
  if (rows === 1) return 15
  return rows <= 10 ? 28 + 1.2 * rows : 22 + 2.3 * rows
}

class Machine {
  active = 0
  readonly cores: number

  constructor(cores: number) {
    this.cores = cores
  }
}

class SharingEngine extends ArithmeticEngine {
  readonly #machine: Machine

  constructor(machine: Machine) {
    super({ context: 2 ** 16, maxRows: 512, maxOutputs: 64 })
    this.#machine = machine
    this.duration = (rows) => Math.round(batchMs(rows) * Math.max(1, machine.active / machine.cores))
  }

  override async run(groups: readonly RowGroup[]): Promise<BatchResult> {
    this.#machine.active += 1
    try {
      return await super.run(groups)
    } finally {
      this.#machine.active -= 1
    }
  }
}

class Hop implements Lane {
  readonly sequence: number
  readonly owner: string
  readonly leaveAfter: number | undefined
  readonly #batcher: Batcher
  readonly #done: (rows: Rows) => void

  constructor(batcher: Batcher, sequence: number, isTail: boolean, done: (rows: Rows) => void) {
    this.#batcher = batcher
    this.sequence = sequence
    this.owner = `owner ${sequence}`
    this.leaveAfter = isTail ? undefined : 1
    this.#done = done
    batcher.add(this)
  }

  push(rows: Rows): void {
    this.#batcher.push(this, rows)
  }

  computed({ rows }: Computed): void {
    this.#done(rows)
  }

  failed(_code: string, message: string): void {
    throw new Error(message)
  }
}

/** Returns the function that sends rows to the first stage; what the tail has computed goes to `done`. */
function open(
  stages: readonly Batcher[],
  sequence: number,
  done: (rows: Rows) => void
): (rows: Rows) => void {
  const first = stages.reduceRight<(rows: Rows) => void>((next, batcher, index) => {
    const isTail = index === stages.length - 1
    const later = (rows: Rows): void => void setTimeout(() => next(rows), HOP_MS)
    const hop = new Hop(batcher, sequence, isTail, isTail ? done : later)
    return (rows) => hop.push(rows)
  }, done)
  return first
}

function rowsAt(position: number, count: number, sample: Rows['sample']): Rows {
  return { epoch: 0, position, tokens: new Int32Array(count).fill(1), sample }
}

/** When each token of a session came. */
function decode(stages: readonly Batcher[], sequence: number): number[] {
  const times: number[] = []
  const send = open(stages, sequence, () => {
    times.push(performance.now())
    setTimeout(() => send(rowsAt(times.length, 1, 'last')), HOP_MS)
  })
  send(rowsAt(0, 1, 'last'))
  return times
}

function intervals(sessions: readonly number[][], from: number, to: number): number[] {
  return sessions
    .flatMap((times) => times.map((time, index) => ({ time, ms: time - (times[index - 1] ?? time) })))
    .filter(({ time }) => time > from && time <= to)
    .map(({ ms }) => ms)
    .sort((a, b) => a - b)
}

describe.each([2, 3])('on %i cores', (cores) => {
  test.each([1, 4, 8])('a long prompt leaves %i sessions their pace', async (count) => {
    const machine = new Machine(cores)
    const stages = [1, 2, 3].map(() => new Batcher(new SharingEngine(machine)))
    const sessions = Array.from({ length: count }, (_, sequence) => decode(stages, sequence))
    await vi.advanceTimersByTimeAsync(6_000)
    const sent = performance.now()
    let ended = 0
    const send = open(stages, count, ({ sample }) => {
      if (sample === 'last') ended = performance.now()
    })
    for (let position = 0; position < PROMPT; position += 128) {
      const rows = Math.min(128, PROMPT - position)
      send(rowsAt(position, rows, position + rows === PROMPT ? 'last' : 'none'))
    }
    while (ended === 0) await vi.advanceTimersByTimeAsync(100)
    const before = intervals(sessions, 1_000, sent)
    const during = intervals(sessions, sent, ended)
    const middle = (values: number[]): number => values[Math.floor(values.length / 2)] as number
    expect(middle(during) / middle(before)).toBeLessThan(2.5)
    // Not for the price of the prompt, though of one session's tokens hardly any time is left beside it.
    expect(ended - sent).toBeLessThan(75_000)
  })
})

test('a crowd is cut into waves that keep all stages busy', async () => {
  const machine = new Machine(3)
  const stages = [1, 2, 3].map(() => new Batcher(new SharingEngine(machine)))
  const sessions = Array.from({ length: 32 }, (_, sequence) => decode(stages, sequence))
  await vi.advanceTimersByTimeAsync(10_000)
  const tokens = sessions.reduce((sum, times) => sum + times.filter((time) => time > 5_000).length, 0)
  const together = (32 * 5_000) / (3 * batchMs(32))
  expect(tokens).toBeGreaterThan(1.5 * together)
  const counts = sessions.map(({ length }) => length)
  expect(Math.min(...counts) / Math.max(...counts)).toBeGreaterThan(0.8)
})
