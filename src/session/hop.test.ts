// Whether a hop lives: what it says, how long it is silent, whether frames reach it. The clock is the test's.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Open, Pong } from '../net/index.ts'
import { Hop, type Loss, type Passed } from './hop.ts'
import { defaultSampler } from './sampler.ts'
import { FakeHost, type FakeStage, place } from './testing.ts'

const TICK_MS = 50
const PLACE = place('peer', 6, 8)

let host: FakeHost
let hop: Hop
let losses: Loss[]
let drawFrom = 0

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  host = new FakeHost()
  losses = []
  hop = new Hop(
    host,
    PLACE,
    { tokens() {}, need() {}, changed() {}, leaving() {}, lost: (_, loss) => losses.push(loss) },
    () => drawFrom
  )
  await hop.open(openMessage(), new AbortController().signal)
  stage().ignored.add('ping')
})

afterEach(() => {
  vi.useRealTimers()
})

function openMessage(): Open {
  const { stage, start, end } = PLACE
  return {
    ...{ type: 'open', session: hop.id, model: stage.model, start, end, head: true, profile: stage.profile },
    ...{ ticketIn: hop.ticketIn, reserve: 16, sampler: defaultSampler() }
  }
}

const stage = (): FakeStage => host.stage('peer')
const pings = (): number => stage().received('ping').length
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Ticks for so long, as the chain does. */
function pass(ms: number, isActive = true): void {
  for (let left = ms; left > 0; left -= TICK_MS) {
    vi.advanceTimersByTime(Math.min(left, TICK_MS))
    hop.tick(isActive, 0)
  }
}

/** Answers the last question. */
function answer(standing: Partial<Pong> = {}): void {
  Object.assign(stage().standing, standing)
  stage().say(stage().pong(stage().received('ping').at(-1)?.nonce ?? 0))
}

describe('a hop that is silent', () => {
  test('is asked after a quarter of a second, once', () => {
    pass(250)
    expect(pings()).toBe(0)
    pass(100)
    expect(pings()).toBe(1)
    pass(300)
    expect(pings()).toBe(1)
  })

  test('is lost after 950 ms, and not before', () => {
    pass(950)
    expect(losses).toEqual([])
    pass(TICK_MS)
    expect(losses).toEqual([{ code: 'TIMEOUT', message: 'it has said nothing for 1.0 s' }])
    expect(stage().received('close')).toHaveLength(1)
  })

  test('lives as long as it says anything', () => {
    for (let times = 0; times < 5; times++) {
      pass(900)
      stage().say({ type: 'timing', frames: [] })
    }
    expect(losses).toEqual([])
  })

  test('lives as long as it answers', () => {
    for (let times = 0; times < 5; times++) {
      pass(900)
      answer()
    }
    expect(losses).toEqual([])
    expect(pings()).toBe(5)
  })

  test('has the time that four of its steps take', () => {
    pass(300)
    answer({ stepMicroseconds: 500_000 })
    pass(2_000)
    expect(losses).toEqual([])
    pass(TICK_MS)
    expect(losses).toHaveLength(1)
  })

  test('has the time that four of its slowest answers lately took, and no longer than lately', () => {
    pass(300)
    pass(500)
    answer()
    expect(hop.predictedMs).toBe(500)
    pass(2_000)
    expect(losses).toEqual([])
    for (let times = 0; times < 120; times++) {
      answer()
      pass(300)
    }
    answer()
    expect(hop.predictedMs).toBe(0)
    pass(1_000)
    expect(losses).toHaveLength(1)
  })

  test('is not blamed for our own lateness', () => {
    pass(900)
    vi.advanceTimersByTime(5_000)
    hop.tick(true, 5_000)
    expect(losses).toEqual([])
    pass(TICK_MS)
    expect(losses).toEqual([])
    pass(TICK_MS)
    expect(losses).toHaveLength(1)
  })

  test('between answers is asked after five seconds and lost after fifteen', () => {
    pass(5_000, false)
    expect(pings()).toBe(0)
    pass(TICK_MS, false)
    expect(pings()).toBe(1)
    pass(15_000 - 5_000 - TICK_MS, false)
    expect(losses).toEqual([])
    pass(TICK_MS, false)
    expect(losses).toHaveLength(1)
  })

  test('has its time anew when an answer begins, and is asked at once', () => {
    pass(14_000, false)
    hop.wake()
    expect(pings()).toBe(2)
    pass(950)
    expect(losses).toEqual([])
    pass(TICK_MS)
    expect(losses).toHaveLength(1)
  })
})

describe('rows that do not come', () => {
  const sent = (rows = 10): Passed => ({ rows, epoch: 0, since: performance.now() })
  const idle = { length: 4, computed: 4, receivedBytes: 100 }

  /** It is asked often, and says the same each time. */
  function stay(ms: number, standing: Partial<Pong>, before: () => void = () => {}): void {
    for (let left = ms; left > 0; left -= 300) {
      pass(300)
      before()
      answer(standing)
    }
  }

  test('are missed when it has had nothing to do for as long as silence may last', () => {
    stay(300, idle)
    const rows = sent()
    stay(900, idle)
    expect(hop.lacks(rows)).toBe(false)
    stay(300, idle)
    expect(hop.lacks(rows)).toBe(true)
    expect(losses).toEqual([])
  })

  test('are not missed where it has them', () => {
    stay(1_800, idle)
    expect(hop.lacks({ rows: 4, epoch: 0, since: 0 })).toBe(false)
  })

  test('are missed where it has as many, but of an epoch before', () => {
    stay(1_800, idle)
    expect(hop.lacks({ rows: 4, epoch: 1, since: 0 })).toBe(true)
    stay(1_800, { ...idle, epoch: 1 })
    expect(hop.lacks({ rows: 4, epoch: 1, since: 0 })).toBe(false)
  })

  test('are not missed before they were sent for long enough', () => {
    stay(3_000, idle)
    const rows = sent()
    expect(hop.lacks(rows)).toBe(false)
    stay(900, idle)
    expect(hop.lacks(rows)).toBe(false)
  })

  test('are not missed while bytes arrive', () => {
    const rows = sent()
    let receivedBytes = 0
    for (let times = 0; times < 10; times++) {
      receivedBytes += 1
      stay(300, { ...idle, receivedBytes })
    }
    expect(hop.lacks(rows)).toBe(false)
    stay(900, { ...idle, receivedBytes })
    expect(hop.lacks(rows)).toBe(false)
    stay(300, { ...idle, receivedBytes })
    expect(hop.lacks(rows)).toBe(true)
  })

  test('are not missed while it computes', () => {
    const rows = sent()
    stay(3_000, { ...idle, computed: 3 })
    expect(hop.lacks(rows)).toBe(false)
  })

  test('are not missed by how little had come when it was asked last', () => {
    stay(300, idle)
    const rows = sent()
    stay(900, idle)
    pass(200)
    expect(hop.lacks(rows)).toBe(false)
    expect(losses).toEqual([])
  })

  test('are not missed by what it said long ago', () => {
    const rows = sent()
    stay(1_500, idle)
    expect(hop.lacks(rows)).toBe(true)
    vi.advanceTimersByTime(1_001)
    expect(hop.lacks(rows)).toBe(false)
  })

  test('owe draws once they are computed for a while, and not before there are any', () => {
    const since = performance.now()
    stay(3_000, { length: 0, computed: 0 })
    expect(hop.owes({ rows: 0, since })).toBe(false)
    stay(3_000, { length: 9, computed: 9 })
    expect(hop.owes({ rows: 9, since })).toBe(true)
    expect(hop.owes({ rows: 9, since: performance.now() })).toBe(false)
  })

  test('count as had by the hop that has computed them, while that is news', () => {
    pass(300)
    answer({ length: 9, computed: 7 })
    const at = performance.now()
    expect(hop.computed).toEqual({ rows: 7, epoch: 0, since: at })
    pass(300)
    answer({ length: 9, computed: 7 })
    expect(hop.computed).toEqual({ rows: 7, epoch: 0, since: at })
    vi.advanceTimersByTime(1_001)
    expect(hop.computed.rows).toBe(0)
  })
})

describe('a connection that breaks', () => {
  test('is opened again, and the session resumed from the first draw that is not known', async () => {
    drawFrom = 12
    const before = stage()
    before.end(new Error('reset'))
    expect(hop.isOpen).toBe(false)
    await settled()
    expect(host.controls).toHaveLength(2)
    expect(stage().sent).toEqual([
      { type: 'resume', session: hop.id, drawFrom: 12 },
      { type: 'rewire', ticketIn: hop.ticketIn, drawFrom: 12 }
    ])
    expect([hop.isOpen, losses]).toEqual([true, []])
    before.say({ type: 'refused', code: 'engine', message: 'old news' })
    expect(losses).toEqual([])
  })

  test('takes the answer to a question along, which is asked again', async () => {
    pass(300)
    host.onControl = (_, next) => next.ignored.add('ping')
    stage().end(new Error('reset'))
    await settled()
    pass(300)
    expect(pings()).toBe(1)
    answer()
    pass(900)
    answer()
    pass(900)
    expect(losses).toEqual([])
  })

  test('and can’t be opened again is the loss of the hop', async () => {
    host.unreachable.add('peer')
    stage().end(new Error('reset'))
    await settled()
    expect(losses).toEqual([{ code: 'LOST', message: 'its connection ended: reset' }])
  })

  test('to a stage that has ended the session is the loss of the hop', async () => {
    host.onControl = (_, next) => next.ignored.add('resume')
    stage().end(new Error('reset'))
    await settled()
    stage().say({ type: 'refused', code: 'session', message: 'this session has ended here' })
    expect(losses).toEqual([
      { code: 'REFUSED', refusal: 'session', message: 'this session has ended here (session)' }
    ])
  })

  test('or is silent after it was opened again, is the loss of the hop', async () => {
    host.onControl = (_, next) => next.ignored.add('resume').add('ping')
    stage().end(new Error('reset'))
    await settled()
    pass(1_000)
    expect(losses).toMatchObject([{ code: 'TIMEOUT' }])
  })

  test('because the stage closed it, is not opened again', async () => {
    stage().end()
    await settled()
    expect(host.controls).toHaveLength(1)
    expect(losses).toEqual([{ code: 'LOST', message: 'it closed the session' }])
  })
})
