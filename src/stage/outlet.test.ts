// What a hop sends on, to receivers that come and go: each ends up with exactly what the log has.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { FakeData } from '../../test/streams.ts'
import type { Accepted, DataSender, Frame, NextHop, SampleMode } from '../net/index.ts'
import { judge } from './frames.ts'
import { Outlet, type OutletInit } from './outlet.ts'
import { type Logged, ReplayLog, type ReplayLogInit } from './replay-log.ts'
import { SpillFile } from './spill-file.ts'
import { eventually } from './testing.ts'

const SEED = 20_261_121
const ROW_BYTES = 8
/** Chunks are then of two rows. */
const MEMORY_BYTES = 64

let folder: string
let lastTicket = 0
const rejections: unknown[] = []
const noteRejection = (reason: unknown): unknown => rejections.push(reason)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-outlet-'))
  process.on('unhandledRejection', noteRejection)
})
afterAll(() => {
  process.off('unhandledRejection', noteRejection)
  rmSync(folder, { recursive: true })
})

/** `rows` rows with the ids `position`, `position + 1`, ...; a row's payload is its id and its epoch. */
function frameAt(position: number, rows: number, epoch = 0, sample: SampleMode = 'last'): Logged {
  const tokens = Int32Array.from({ length: rows }, (_, row) => position + row)
  const payload = new Uint8Array(Uint32Array.from([...tokens].flatMap((token) => [token, epoch])).buffer)
  return { epoch, position, tokens, sample, codec: 'f32', payload }
}

function hop(): NextHop {
  lastTicket += 1
  return { peer: 'b', addresses: [], ticket: new Uint8Array(16).fill(lastTicket) }
}

/** As epoch:position+rows, with a star where tokens are drawn. */
function shortly({ epoch, position, tokens, sample }: Frame): string {
  return `${epoch}:${position}+${tokens.length}${sample === 'none' ? '' : sample === 'last' ? '*' : '**'}`
}

/** An outlet, and what it says. */
class Bench {
  readonly log: ReplayLog
  readonly outlet: Outlet
  readonly linked: Uint8Array[] = []
  readonly unlinked: string[] = []
  readonly lost: number[] = []
  /** What each dialling gives. */
  dial: OutletInit['dial'] = () => Promise.reject(new Error('nobody'))

  constructor(init: Partial<ReplayLogInit> = {}) {
    this.log = new ReplayLog({
      codec: 'f32',
      rowBytes: ROW_BYTES,
      memoryBytes: MEMORY_BYTES,
      folder,
      ...init
    })
    this.outlet = new Outlet({
      log: this.log,
      dial: (next, signal) => this.dial(next, signal),
      onLinked: (ticket) => this.linked.push(ticket),
      onUnlinked: (_, message) => this.unlinked.push(message),
      onLost: (position) => this.lost.push(position)
    })
  }

  /** Another next hop, and what it accepts with. */
  async link<T extends DataSender>(sender: T, drawFrom = 0): Promise<T> {
    this.dial = async () => sender
    const before = this.linked.length
    this.outlet.link(hop(), drawFrom)
    await eventually(() => expect(this.linked).toHaveLength(before + 1))
    return sender
  }
}

let bench: Bench
beforeEach(() => {
  bench = new Bench()
})
afterEach(async () => {
  vi.useRealTimers()
  await bench.outlet.close()
  expect(rejections.splice(0)).toEqual([])
})

function got({ frames }: FakeData, expected: string): Promise<void> {
  return eventually(() => expect(frames.map(shortly).join(' ')).toBe(expected))
}

describe('what is sent', () => {
  test('at once, as it comes, while nothing waits', async () => {
    const next = await bench.link(new FakeData())
    const frame = frameAt(0, 3)
    bench.outlet.append(frame)
    expect(next.frames[0]?.payload).toBe(frame.payload) // not a copy
    bench.outlet.append(frameAt(3, 1))
    await got(next, '0:0+3* 0:3+1*')
  })

  test('nothing that the receiver has', async () => {
    bench.outlet.append(frameAt(0, 4))
    bench.outlet.append(frameAt(4, 4))
    await got(await bench.link(new FakeData({ length: 5 })), '0:5+3*')
  })

  test('nothing before what the receiver has and this hop has yet to compute', async () => {
    const next = await bench.link(new FakeData({ epoch: 3, length: 6 }))
    bench.outlet.append(frameAt(0, 4, 2))
    bench.outlet.append(frameAt(4, 4, 3)) // half of it is there
    await got(next, '3:6+2*')
  })

  test('what was rewritten in an epoch that the receiver has not heard of', async () => {
    bench.outlet.append(frameAt(0, 6, 1))
    bench.outlet.truncate(2)
    bench.outlet.append(frameAt(2, 2, 4))
    await got(await bench.link(new FakeData({ epoch: 1, length: 6 })), '4:2+2*')
  })

  test('what is rewritten after it was sent, from where it is', async () => {
    const next = await bench.link(new FakeData())
    bench.outlet.append(frameAt(0, 6))
    bench.outlet.truncate(2)
    bench.outlet.append(frameAt(2, 3, 1))
    await got(next, '0:0+6* 1:2+3*')
  })

  test('what is rewritten while nobody is there', async () => {
    const next = await bench.link(new FakeData())
    bench.outlet.append(frameAt(0, 6))
    next.abort(new Error('reset'))
    await eventually(() => expect(bench.unlinked).toEqual(['reset']))
    bench.outlet.truncate(2)
    const again = await bench.link(new FakeData({ epoch: 0, length: 6 }))
    bench.outlet.append(frameAt(2, 3, 1))
    await got(again, '1:2+3*')
  })

  test('in frames as the receiver takes them', async () => {
    const next = await bench.link(new FakeData({ maxRows: 3 }))
    bench.outlet.append(frameAt(0, 7))
    bench.outlet.append(frameAt(7, 2, 0, 'all'))
    await got(next, '0:0+3 0:3+3 0:6+3**')
  })

  test('with draws from where they are asked for', async () => {
    for (const position of [0, 2, 4, 6]) bench.outlet.append(frameAt(position, 2))
    await got(await bench.link(new FakeData(), 5), '0:0+6* 0:6+2*')
  })

  test('with all draws of what is rewritten before that', async () => {
    bench.outlet.append(frameAt(0, 8))
    const next = await bench.link(new FakeData({ maxRows: 4 }), 8)
    await got(next, '0:0+4 0:4+4')
    bench.outlet.truncate(1)
    bench.outlet.append(frameAt(1, 5, 1))
    await got(next, '0:0+4 0:4+4 1:1+4 1:5+1*')
  })

  test('in order when some wait for a slow receiver', async () => {
    const next = new FakeData()
    next.room = 1
    await bench.link(next)
    for (const position of [0, 2, 4]) bench.outlet.append(frameAt(position, 2))
    expect(next.frames).toHaveLength(1)
    next.drain()
    await got(next, '0:0+2* 0:2+2* 0:4+2*')
  })

  test('nothing stale: rows cut while they are read from the disk', async () => {
    const held = Promise.withResolvers<void>()
    let reads = 0
    const createFile = async (into: string): Promise<SpillFile> => {
      const file = await SpillFile.create(into)
      const read = file.read.bind(file)
      file.read = async (...how) => {
        reads += 1
        await held.promise
        await read(...how)
      }
      return file
    }
    bench = new Bench({ createFile })
    bench.outlet.append(frameAt(0, 40, 0, 'none'))
    await eventually(() => expect(bench.log.memoryBytesUsed).toBeLessThanOrEqual(MEMORY_BYTES))
    const next = await bench.link(new FakeData())
    await eventually(() => expect(reads).toBe(1))
    bench.outlet.truncate(3)
    bench.outlet.append(frameAt(3, 2, 1))
    held.resolve()
    await got(next, '0:0+3 1:3+2*')
  })
})

describe('the next hop', () => {
  test('that is replaced while a send waits gets no more, and the other one everything', async () => {
    const slow = new FakeData()
    slow.room = 1
    await bench.link(slow)
    bench.outlet.append(frameAt(0, 2))
    bench.outlet.append(frameAt(2, 2))
    const other = await bench.link(new FakeData())
    await got(other, '0:0+2* 0:2+2*')
    expect([slow.frames.length, slow.hasEnded]).toEqual([1, true])
    expect(bench.unlinked).toEqual([])
  })

  test('that is replaced while it is dialled is not waited for', async () => {
    const late = Promise.withResolvers<DataSender>()
    bench.dial = () => late.promise
    bench.outlet.link(hop(), 0)
    bench.outlet.append(frameAt(0, 2))
    const other = await bench.link(new FakeData())
    const first = new FakeData()
    late.resolve(first)
    expect(await first.closed).toMatchObject({ message: 'another next hop was named' })
    await got(other, '0:0+2*')
    expect([bench.linked.length, first.frames.length]).toEqual([1, 0])
  })

  test('that cannot be reached is said, unless another was named', async () => {
    bench.outlet.link(hop(), 0)
    await eventually(() => expect(bench.unlinked).toEqual(['nobody']))
    bench.dial = (_, signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))))
    bench.outlet.link(hop(), 0)
    await bench.link(new FakeData())
    expect(bench.unlinked).toEqual(['nobody'])
  })

  test('that closes in good order is not dialled again', async () => {
    const next = await bench.link(new FakeData())
    bench.dial = () => expect.unreachable()
    await next.close()
    await eventually(() => expect(bench.unlinked).toEqual(['it closed the stream']))
  })

  test('whose steady stream breaks is dialled once more, and gets the rest', async () => {
    vi.useFakeTimers()
    const next = await bench.link(new FakeData())
    bench.outlet.append(frameAt(0, 2))
    vi.advanceTimersByTime(1_100)
    const again = new FakeData({ length: 2 })
    const dialled: NextHop[] = []
    bench.dial = async (to) => {
      dialled.push(to)
      return again
    }
    next.abort(new Error('reset'))
    bench.outlet.append(frameAt(2, 2)) // nobody has noticed yet
    await got(again, '0:2+2*')
    expect([bench.linked[1], bench.unlinked]).toEqual([bench.linked[0], []])
    again.abort(new Error('reset again')) // too soon to be worth another
    await eventually(() => expect(bench.unlinked).toEqual(['reset again']))
    expect(dialled.map(({ ticket }) => ticket)).toEqual([bench.linked[0]])
  })

  test('that is dialled in vain after it broke is said', async () => {
    vi.useFakeTimers()
    const next = await bench.link(new FakeData())
    vi.advanceTimersByTime(1_100)
    bench.dial = (_, signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('in vain'))))
    vi.spyOn(AbortSignal, 'timeout').mockImplementationOnce((ms) => {
      const controller = new AbortController()
      setTimeout(() => controller.abort(), ms)
      return controller.signal
    })
    next.abort(new Error('reset'))
    await vi.advanceTimersByTimeAsync(3_000)
    expect(bench.unlinked).toEqual(['in vain'])
    expect(bench.linked).toHaveLength(1)
  })

  test('is left in good order at the end, also one that is just being reached', async () => {
    const next = await bench.link(new FakeData())
    await bench.outlet.close()
    expect(await next.closed).toBeUndefined()
    bench = new Bench()
    const late = Promise.withResolvers<DataSender>()
    bench.dial = () => late.promise
    bench.outlet.link(hop(), 0)
    await bench.outlet.close()
    const reached = new FakeData()
    late.resolve(reached)
    expect(await reached.closed).toBeInstanceOf(Error)
    expect([bench.linked, bench.unlinked]).toEqual([[], []])
  })
})

describe('rows that the log could not keep', () => {
  beforeEach(() => {
    bench = new Bench({ createFile: () => Promise.reject(new Error('no space left')) })
  })

  test('are said to be lost, from the first one that is lacking', async () => {
    bench.outlet.append(frameAt(0, 40))
    await eventually(() => expect(bench.log.memoryBytesUsed).toBeLessThanOrEqual(MEMORY_BYTES))
    const next = await bench.link(new FakeData({ length: 3 }))
    await eventually(() => expect(bench.lost).toEqual([3]))
    expect([next.frames, next.hasEnded]).toEqual([[], false])
    // The consumer has them computed again.
    bench.outlet.truncate(3)
    bench.outlet.append(frameAt(3, 2, 1))
    await got(next, '1:3+2*')
  })

  test('are no matter to who has them', async () => {
    bench.outlet.append(frameAt(0, 40))
    await eventually(() => expect(bench.log.memoryBytesUsed).toBeLessThanOrEqual(MEMORY_BYTES))
    await got(await bench.link(new FakeData({ length: 36 })), '0:36+4*')
    expect(bench.lost).toEqual([])
  })
})

/** A row as a receiver knows it. */
interface Row {
  readonly token: number
  readonly epoch: number
}

/** What a stage holds, by the frame rule. */
class Receiver {
  epoch = 0
  rows: Row[] = []
  /** Frames that did not fit: never, where the outlet knows what the receiver has. */
  gaps = 0
  /** Rows that it has got already: what a stream that broke has not told. */
  repeats = 0

  receive(frame: Frame): void {
    const verdict = judge({ epoch: this.epoch, length: this.rows.length }, frame)
    if (verdict.action === 'need') this.gaps += 1
    if (verdict.action === 'drop') this.repeats += 1
    if (verdict.action === 'need' || verdict.action === 'drop') return
    if (verdict.action === 'truncate') this.rows.length = verdict.length
    this.epoch = frame.epoch
    const words = new Uint32Array(frame.payload.buffer, frame.payload.byteOffset, 2 * frame.tokens.length)
    for (const [row, token] of frame.tokens.entries()) {
      expect(words[2 * row]).toBe(token)
      this.rows.push({ token, epoch: words[2 * row + 1] as number })
    }
  }
}

/** A stream to a receiver that breaks after so many frames; those after it has broken, and some before, are lost. */
class Link extends FakeData {
  readonly #receiver: Receiver
  readonly #breaksAfter: number
  readonly #isSlow: () => boolean

  constructor(
    receiver: Receiver,
    maxRows: number,
    { breaksAfter, isSlow }: { breaksAfter: number; isSlow: () => boolean }
  ) {
    const accepted: Accepted = { epoch: receiver.epoch, length: receiver.rows.length, maxRows }
    super(accepted)
    this.#receiver = receiver
    this.#breaksAfter = breaksAfter
    this.#isSlow = isSlow
  }

  override send(frame: Frame): Promise<void> {
    if (this.hasEnded) return super.send(frame)
    expect(frame.tokens.length).toBeLessThanOrEqual(this.accepted.maxRows)
    if (this.frames.length >= this.#breaksAfter) {
      this.abort(new Error('broke'))
      return super.send(frame)
    }
    this.#receiver.receive(frame)
    const sent = super.send(frame)
    return this.#isSlow() ? new Promise((resolve) => setImmediate(resolve)) : sent
  }
}

type Step =
  | { do: 'append'; rows: number; sample: SampleMode }
  | { do: 'rewrite'; back: number; rows: number }
  | { do: 'link'; who: number; breaksAfter: number; maxRows: number; drawFrom: number }
  | { do: 'break' }
  | { do: 'wait' }

const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('append' as const),
        rows: fc.integer({ min: 1, max: 9 }),
        sample: fc.constantFrom<SampleMode>('none', 'last', 'all')
      })
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('rewrite' as const),
        back: fc.nat(30),
        rows: fc.integer({ min: 1, max: 5 })
      })
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('link' as const),
        who: fc.nat(3),
        breaksAfter: fc.constantFrom(0, 1, 2, 5, 1_000),
        maxRows: fc.constantFrom(1, 4, 64),
        drawFrom: fc.nat(40)
      })
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('break' as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const) }) }
  ) as fc.Arbitrary<Step>,
  { minLength: 3, maxLength: 40 }
)

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('whoever is linked last has exactly the log’s rows, of the same epochs', async () => {
  let replayed = 0
  const property = fc.asyncProperty(steps, fc.infiniteStream(fc.boolean()), async (list, coin) => {
    const own = new Bench()
    const rows: Row[] = []
    const receivers: Receiver[] = []
    let [epoch, token] = [0, 0]
    let link: Link | undefined
    const append = (count: number, sample: SampleMode): void => {
      const added = Array.from({ length: count }, (): Row => ({ token: token++, epoch }))
      const payload = new Uint8Array(Uint32Array.from(added.flatMap((row) => [row.token, row.epoch])).buffer)
      const tokens = Int32Array.from(added, (row) => row.token)
      own.outlet.append({ epoch, position: rows.length, tokens, sample, codec: 'f32', payload })
      rows.push(...added)
    }
    const connect = (receiver: Receiver, breaksAfter: number, maxRows: number, drawFrom: number): void => {
      // What it has is told when it accepts: nothing is sent between.
      own.dial = async () => {
        link?.abort(new Error('replaced'))
        link = new Link(receiver, maxRows, { breaksAfter, isSlow: () => coin.next().value as boolean })
        return link
      }
      own.outlet.link(hop(), drawFrom)
    }
    for (const step of list) {
      if (step.do === 'append') append(step.rows, step.sample)
      else if (step.do === 'rewrite') {
        epoch += 1 + (step.back % 2)
        const to = Math.max(0, rows.length - step.back)
        own.outlet.truncate(to)
        rows.length = to
        append(step.rows, 'last')
      } else if (step.do === 'link') {
        receivers[step.who] ??= new Receiver()
        connect(receivers[step.who] as Receiver, step.breaksAfter, step.maxRows, step.drawFrom)
      } else if (step.do === 'break') link?.abort(new Error('reset'))
      else await turn()
    }
    const last = receivers.find((receiver) => receiver !== undefined) ?? new Receiver()
    replayed += last.rows.length > 0 ? 1 : 0
    connect(last, Number.POSITIVE_INFINITY, 4, 0)
    await eventually(() => expect(last.rows).toHaveLength(rows.length))
    for (let quiet = 0; quiet < 3; quiet++) await turn()
    await eventually(() => expect(last.rows).toEqual(rows))
    for (const receiver of receivers) expect([receiver?.gaps ?? 0, receiver?.repeats ?? 0]).toEqual([0, 0])
    expect(own.lost).toEqual([])
    await own.outlet.close()
  })
  await fc.assert(property, { seed: SEED, numRuns: 400 })
  expect(replayed).toBeGreaterThan(100) // receivers that had something, and lacked the rest
})
