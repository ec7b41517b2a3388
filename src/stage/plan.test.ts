// Whole loads on a stage in simulated time: an engine whose batches take what a formula says.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { randomOf } from '../../test/models/random.ts'
import type { EngineDescription } from '../engine/index.ts'
import type { SampleMode } from '../net/index.ts'
import { Batcher, type Lane } from './batcher.ts'
import { ArithmeticEngine } from './testing.ts'

const PROMPT = 4_000

let engine: ArithmeticEngine
let batcher: Batcher
let failures: string[]

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  failures = []
})

afterEach(() => {
  vi.useRealTimers()
  expect(failures).toEqual([])
})

function begin(duration: (rows: number) => number, limits: Partial<EngineDescription> = {}): void {
  engine = new ArithmeticEngine({ context: 2 ** 16, maxRows: 512, maxOutputs: 64, ...limits })
  engine.duration = duration
  batcher = new Batcher(engine)
}

let sequences = 0
beforeEach(() => {
  sequences = 0
})

/** A lane whose rows are pushed, and whose end is awaited, by its subclass. */
abstract class SimulatedLane implements Lane {
  readonly sequence = sequences++
  readonly owner: string
  readonly leaveAfter = undefined
  position = 0

  constructor(owner = `owner ${sequences}`) {
    this.owner = owner
    batcher.add(this)
  }

  push(count: number, sample: SampleMode): void {
    const tokens = Int32Array.from({ length: count }, () => 1)
    batcher.push(this, { epoch: 0, position: this.position, tokens, sample })
    this.position += count
  }

  abstract computed(value: { rows: { tokens: Int32Array; position: number } }): void

  failed(_code: string, message: string): void {
    failures.push(message)
  }
}

/** Decodes: each token brings the next row `awayMs` later. */
class Decoder extends SimulatedLane {
  /** Of each token: when it came, and what it took since the row before. */
  readonly tokens: { readonly at: number; readonly ms: number }[] = []
  #last = performance.now()
  #isDone = false
  readonly #awayMs: () => number

  constructor(awayMs: number | (() => number), owner?: string) {
    super(owner)
    this.#awayMs = typeof awayMs === 'number' ? () => awayMs : awayMs
    this.push(1, 'last')
  }

  computed(): void {
    const at = performance.now()
    this.tokens.push({ at, ms: at - this.#last })
    this.#last = at
    if (!this.#isDone) setTimeout(() => this.push(1, 'last'), this.#awayMs())
  }

  stop(): void {
    this.#isDone = true
  }

  meanMs(from: number, to: number): number {
    const times = this.tokens.filter(({ at }) => at > from && at <= to).map(({ ms }) => ms)
    return times.reduce((sum, ms) => sum + ms, 0) / times.length
  }
}

/** Sends a prompt in frames of 128 rows. */
class Prompt extends SimulatedLane {
  readonly started = performance.now()
  readonly pieces: { readonly at: number; readonly rows: number }[] = []
  endedAt: number | undefined
  readonly #rows: number

  constructor(rows = PROMPT, owner?: string) {
    super(owner)
    this.#rows = rows
    while (this.position < rows) {
      const count = Math.min(128, rows - this.position)
      this.push(count, this.position + count === rows ? 'last' : 'none')
    }
  }

  get done(): number {
    return this.pieces.reduce((sum, { rows }) => sum + rows, 0)
  }

  computed({ rows }: { rows: { tokens: Int32Array } }): void {
    const at = performance.now()
    this.pieces.push({ at, rows: rows.tokens.length })
    if (this.done === this.#rows) this.endedAt = at
  }
}

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let ms = 0; !isTrue(); ms += 100) {
    if (ms > 600_000) throw new Error('it never came true')
    await pass(100)
  }
}

const ENGINES = {
  'memory-bound': (rows: number) => 20 + 0.1 * rows,
  balanced: (rows: number) => 15 + 2 * rows,
  'compute-bound': (rows: number) => 2 + 4 * rows
}

describe.each(Object.entries(ENGINES))('beside sessions that decode on a %s engine', (_, duration) => {
  test.each([
    { decoders: 1, awayMs: 1 },
    { decoders: 4, awayMs: 2 },
    { decoders: 4, awayMs: 60 },
    { decoders: 16, awayMs: 300 }
  ])(
    'a long prompt advances, and they do: $decoders that are $awayMs ms away',
    async ({ decoders, awayMs }) => {
      begin(duration)
      const sessions = Array.from({ length: decoders }, () => new Decoder(awayMs))
      await pass(5_000)
      const prompt = new Prompt()
      await until(() => prompt.endedAt !== undefined)
      for (const session of sessions) {
        const before = session.meanMs(1_000, prompt.started)
        const during = session.meanMs(prompt.started, prompt.endedAt as number)
        expect(during / before).toBeLessThan(2.5)
      }
      const alone = (PROMPT / 128) * duration(128)
      expect((prompt.endedAt as number) - prompt.started).toBeLessThan(3 * alone)
    }
  )
})

test('beside sessions far away that come when they like, a prompt has most of the time', async () => {
  begin(ENGINES.balanced)
  const random = randomOf('jitter')
  const sessions = Array.from({ length: 4 }, () => new Decoder(() => 100 + 1_000 * random()))
  await pass(5_000)
  const prompt = new Prompt()
  await until(() => prompt.endedAt !== undefined)
  const alone = (PROMPT / 128) * ENGINES.balanced(128)
  expect((prompt.endedAt as number) - prompt.started).toBeLessThan(3 * alone)
  for (const session of sessions) {
    const during = session.meanMs(prompt.started, prompt.endedAt as number)
    expect(during).toBeLessThan(1.3 * (600 + ENGINES.balanced(1)))
  }
})

test('one session alone waits for nobody', async () => {
  begin(ENGINES.balanced)
  const session = new Decoder(3)
  await pass(5_000)
  expect(session.meanMs(1_000, 5_000)).toBe(ENGINES.balanced(1) + 3)
})

test('nor for one that left while its row was computed', async () => {
  begin(ENGINES.balanced)
  const gone = new Decoder(3)
  await pass(10)
  batcher.remove(gone)
  const session = new Decoder(3)
  await pass(5_000)
  expect(session.meanMs(500, 5_000)).toBe(ENGINES.balanced(1) + 3)
})

test('sessions that come back one just after the other share their steps', async () => {
  begin(ENGINES['memory-bound'])
  const sessions = Array.from({ length: 8 }, (_, index) => new Decoder(1 + index / 4))
  await pass(5_000)
  const steps = engine.batches.slice(-20).map((groups) => groups.length)
  expect(Math.min(...steps)).toBe(8)
  expect((sessions[0] as Decoder).meanMs(1_000, 5_000)).toBeLessThan(25)
})

describe('a prompt with nobody else', () => {
  test('has all rows that there are', async () => {
    begin(ENGINES['memory-bound'])
    const prompt = new Prompt()
    await until(() => prompt.endedAt !== undefined)
    expect(prompt.pieces.map(({ rows }) => rows)).toEqual([...Array(31).fill(128), 32])
  })

  test('takes no longer per step than a newcomer may wait', async () => {
    begin((rows) => 100 * rows)
    const prompt = new Prompt(512)
    await until(() => prompt.endedAt !== undefined)
    const [first, ...others] = prompt.pieces
    expect(first?.rows).toBe(128) // nothing was known
    expect(Math.max(...others.map(({ rows }) => rows))).toBe(32)
  })

  test('has them again soon after others have stopped', async () => {
    begin(ENGINES.balanced)
    const session = new Decoder(1)
    await pass(2_000)
    session.stop()
    await pass(50)
    const prompt = new Prompt()
    await until(() => prompt.endedAt !== undefined)
    const full = prompt.pieces.find(({ rows }) => rows === 128)
    expect((full?.at ?? Number.POSITIVE_INFINITY) - prompt.started).toBeLessThan(1_600) // a second of it because they might come back
  })

  test('is not held up by its own decoding before', async () => {
    begin(ENGINES.balanced)
    const session = new Decoder(1)
    await pass(1_000)
    session.stop()
    await pass(50)
    const before = engine.batches.length
    session.push(128, 'last')
    await pass(500)
    expect(engine.batches[before]?.[0]?.tokens).toHaveLength(128)
  })
})

describe('owners share a stage, not sessions', () => {
  test('one with ten long prompts gets as many rows as one with one', async () => {
    begin(ENGINES.balanced)
    const many = Array.from({ length: 10 }, () => new Prompt(PROMPT, 'many'))
    await pass(1_000)
    const one = new Prompt(PROMPT, 'one')
    const before = rowsOf(many)
    await until(() => one.endedAt !== undefined)
    const share = (rowsOf(many) - before) / PROMPT
    expect(share).toBeGreaterThan(0.9)
    expect(share).toBeLessThan(1.2) // a step of 512 rows was under way
  })

  test('also beside decoding', async () => {
    begin(ENGINES.balanced)
    new Decoder(1)
    await pass(1_000)
    const many = Array.from({ length: 10 }, () => new Prompt(PROMPT, 'many'))
    const one = new Prompt(400, 'one')
    await until(() => one.endedAt !== undefined)
    expect(rowsOf(many)).toBeLessThan(500)
  })

  test('and when more decode than a step can have, nobody starves', async () => {
    begin(ENGINES.balanced, { maxRows: 4, maxOutputs: 4 })
    const many = Array.from({ length: 12 }, () => new Decoder(1, 'many'))
    const one = new Decoder(1, 'one')
    await pass(5_000)
    const counts = many.map(({ tokens }) => tokens.length)
    // A session of its own is in every step but the one that it comes back in; the twelve share the rest.
    expect(one.tokens.length).toBeGreaterThan(2.5 * Math.max(...counts))
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2)
  })

  test('and windows count by their rows: who sends none is in every step', async () => {
    begin(ENGINES.balanced, { maxRows: 16, maxOutputs: 16 })
    const drafts = Array.from({ length: 4 }, () => new Draft())
    const one = new Decoder(1, 'one')
    await pass(5_000)
    const steps = engine.batches.slice(-40)
    expect(steps.every((groups) => groups.reduce((rows, { tokens }) => rows + tokens.length, 0) <= 16)).toBe(
      true
    )
    // In every step but the one that it comes back in.
    expect(one.tokens.length).toBeGreaterThan(0.45 * engine.batches.length)
    const verified = drafts.map((draft) => draft.verified)
    expect(Math.max(...verified) / Math.min(...verified)).toBeLessThan(1.1)
  })

  test('one alone that sends window after window waits for nobody', async () => {
    begin(ENGINES.balanced)
    const draft = new Draft(2)
    await pass(5_000)
    // Two windows of eight rows are under way: one is computed, the other waits for it, and no time is lost.
    expect(draft.verified).toBeGreaterThan(0.97 * 8 * (5_000 / ENGINES.balanced(8)))
  })

  test('a prompt comes to its end beside drafts that take every output', async () => {
    begin(ENGINES.balanced, { maxOutputs: 16 })
    const drafts = Array.from({ length: 3 }, () => new Draft())
    const prompt = new Prompt(400)
    await until(() => prompt.endedAt !== undefined)
    for (const draft of drafts) expect(draft.verified).toBeGreaterThan(16)
  })
})

/** Has eight rows verified at a time, or some of them under way, and is never away. */
class Draft extends SimulatedLane {
  verified = 0
  readonly #ahead: number

  constructor(windows = 1) {
    super()
    this.#ahead = 8 * windows
    for (let window = 0; window < windows; window++) this.push(8, 'all')
  }

  computed({ rows }: { rows: { tokens: Int32Array } }): void {
    this.verified += rows.tokens.length
    while (this.position - this.verified < this.#ahead && this.verified % 8 === 0) this.push(8, 'all')
  }
}

function rowsOf(prompts: readonly Prompt[]): number {
  return prompts.reduce((rows, { done }) => rows + done, 0)
}
