// What a stage's session survives: lost neighbours, a lost consumer, want of room, a node that leaves.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type FakeControl, FakeData, FakeReceiver } from '../../test/streams.ts'
import type { Frame } from '../net/index.ts'
import {
  eventually,
  FREE,
  heard,
  idsAt,
  nextToken,
  SAMPLER,
  said,
  type TestSession,
  TestStage
} from './testing.ts'

const GRACE_MS = 30_000
const MIN_IDLE_MS = 20_000
const MAX_IDLE_MS = 15 * 60_000

let tail: TestStage
let first: TestStage

beforeEach(async () => {
  vi.useFakeTimers()
  tail = await TestStage.start({ blockCount: 2 })
  first = await TestStage.start({ blockCount: 4 })
})

afterEach(async () => {
  await Promise.all([tail, first].map(({ server }) => server.stop()))
  await Promise.all([tail, first].map(({ stage }) => stage.stop()))
  vi.useRealTimers()
})

/** What is drawn after ids 0, 1, ... `position`. */
function drawnAt(position: number): number {
  return nextToken(Array.from({ length: position + 1 }, (_, id) => id))
}

/** As epoch:position+rows, with a star where tokens are drawn. */
function shortly({ epoch, position, tokens, sample }: Frame): string {
  return `${epoch}:${position}+${tokens.length}${sample === 'none' ? '' : sample === 'last' ? '*' : '**'}`
}

function got({ frames }: FakeData, expected: string): Promise<void> {
  return eventually(() => expect(frames.map(shortly).join(' ')).toBe(expected))
}

function computed(control: FakeControl, rows: number): Promise<void> {
  const before = said(control, 'pong').length
  return eventually(() => {
    control.say({ type: 'ping', nonce: 1 })
    expect(said(control, 'pong').slice(before).at(-1)).toMatchObject({ computed: rows })
  })
}

function resume(node: TestStage, { message }: TestSession, drawFrom = 0, peer?: string): FakeControl {
  return node.say({ type: 'resume', session: message.session, drawFrom }, peer)
}

describe('another next hop', () => {
  test('gets all that was ever sent, and what is computed from then on', async () => {
    const { control, data } = await first.open()
    const lost = first.next
    data.push(idsAt(0, 3))
    await got(lost, '0:0+3*')
    lost.abort(new Error('reset'))
    await heard(control, 'unlinked')
    data.push(idsAt(3, 2))
    await computed(control, 5)
    const next = first.nextHop()
    first.next = new FakeData()
    control.say({ type: 'rewire', next, drawFrom: 0 })
    await got(first.next, '0:0+3* 0:3+2*')
    expect(first.next.frames[0]).toEqual(lost.frames[0])
    expect(said(control, 'linked').at(-1)?.ticket).toEqual(next.ticket)
    data.push(idsAt(5, 1))
    await got(first.next, '0:0+3* 0:3+2* 0:5+1*')
    expect(lost.frames).toHaveLength(1)
  })

  test('is asked for no draws that the consumer has seen', async () => {
    const { control, data } = await first.open()
    data.push(idsAt(0, 3))
    data.push(idsAt(3, 1))
    data.push(idsAt(4, 1))
    await computed(control, 5)
    first.next = new FakeData()
    control.say({ type: 'rewire', next: first.nextHop(), drawFrom: 4 })
    await got(first.next, '0:0+5*')
  })

  test('that has rows of its own gets the others only', async () => {
    const { control, data } = await first.open()
    data.push(idsAt(0, 6))
    await computed(control, 6)
    data.push(idsAt(4, 2, 1))
    await eventually(() => expect(first.next.frames).toHaveLength(2))
    first.next = new FakeData({ epoch: 0, length: 6 })
    control.say({ type: 'rewire', next: first.nextHop(), drawFrom: 0 })
    await got(first.next, '1:4+2*')
  })

  test('may take over from one that still works', async () => {
    const { control, data } = await first.open()
    const before = first.next
    data.push(idsAt(0, 2))
    await got(before, '0:0+2*')
    first.next = new FakeData()
    control.say({ type: 'rewire', next: first.nextHop(), drawFrom: 0 })
    data.push(idsAt(2, 1))
    await got(first.next, '0:0+2* 0:2+1*')
    expect([before.frames.length, before.hasEnded]).toEqual([1, true])
    expect(said(control, 'unlinked')).toEqual([]) // that one was not lost
  })

  test('draws what the lost one would have, in the middle of an answer', async () => {
    const ends = await Promise.all([0, 1].map(() => TestStage.start({ start: 2, blockCount: 4 })))
    const opened = await Promise.all(ends.map((end) => end.open()))
    const [end, spare] = opened as [TestSession, TestSession]
    const wired = ({ data, accepted }: TestSession): FakeData => {
      const sender = new FakeData(accepted)
      const send = sender.send.bind(sender)
      sender.send = (frame) => {
        if (!sender.hasEnded) data.push(frame)
        return send(frame)
      }
      return sender
    }
    first.next = wired(end)
    const { control, data } = await first.open()
    data.push(idsAt(0, 3))
    data.push(idsAt(3, 1))
    await eventually(() =>
      expect(said(end.control, 'tokens').map(({ position }) => position)).toEqual([2, 3])
    )
    first.next.abort(new Error('reset'))
    data.push(idsAt(4, 1))
    first.next = wired(spare)
    control.say({ type: 'rewire', next: first.nextHop(), drawFrom: 4 })
    data.push(idsAt(5, 1))
    await eventually(() => expect(said(spare.control, 'tokens')).toHaveLength(2))
    const drawn = said(spare.control, 'tokens').map(({ position, tokens }) => [position, ...tokens])
    expect(drawn).toEqual([
      [4, drawnAt(4)],
      [5, drawnAt(5)]
    ])
    await Promise.all(ends.flatMap((each) => [each.server.stop(), each.stage.stop()]))
  })

  test('is nothing that a tail has', async () => {
    const { control, data } = await tail.open()
    control.say({ type: 'rewire', next: tail.nextHop(), drawFrom: 0 })
    data.push(idsAt(0, 1))
    await heard(control, 'tokens')
    expect(said(control, 'linked')).toEqual([])
  })
})

describe('another hop before', () => {
  test('presents its own ticket, hears what is here, and goes on from there', async () => {
    const { message, control, data } = await tail.open()
    data.push(idsAt(0, 3))
    await heard(control, 'tokens')
    const ticketIn = tail.ticket()
    control.say({ type: 'rewire', ticketIn, drawFrom: 0 })
    const other = new FakeReceiver()
    expect(await tail.server.data(ticketIn, other)).toEqual({ epoch: 0, length: 3, maxRows: 8 })
    expect([data.hasEnded, other.hasEnded]).toEqual([true, false])
    other.push(idsAt(0, 3)) // it has told that it has them
    other.push(idsAt(3, 1))
    await eventually(() => expect(said(control, 'tokens').map(({ position }) => position)).toEqual([2, 3]))
    const old = tail.server.data(message.ticketIn, new FakeReceiver())
    await vi.advanceTimersByTimeAsync(5_000)
    expect(await old).toBeUndefined()
  })

  test('may come before the consumer has said so', async () => {
    const { control } = await tail.open()
    const ticketIn = tail.ticket()
    const early = tail.server.data(ticketIn, new FakeReceiver())
    control.say({ type: 'rewire', ticketIn, drawFrom: 0 })
    expect(await early).toEqual({ epoch: 0, length: 0, maxRows: 8 })
  })

  test('hears what is left when all of a cut is done', async () => {
    const { message, control, data } = await tail.open()
    data.push(idsAt(0, 8))
    await heard(control, 'tokens')
    const goOn = tail.engine.pause()
    data.push(idsAt(6, 1, 1))
    data.resume()
    data.push(idsAt(3, 1, 2)) // waits for the cut to 6, and cuts once more
    const accepted = tail.server.data(message.ticketIn, new FakeReceiver())
    goOn()
    expect(await accepted).toEqual({ epoch: 2, length: 4, maxRows: 8 })
  })

  test('with the ticket of another session ends this one, and harms nobody else', async () => {
    const [one, two] = [await tail.open(), await tail.open()]
    one.control.say({ type: 'rewire', ticketIn: two.message.ticketIn, drawFrom: 0 })
    expect(await heard(one.control, 'refused')).toMatchObject({ code: 'ticket' })
    two.data.push(idsAt(0, 1))
    await heard(two.control, 'tokens')
    expect(await tail.server.data(two.message.ticketIn, new FakeReceiver())).toMatchObject({ length: 1 })
  })

  test('with the same ticket again is nothing new', async () => {
    const { message, control } = await tail.open()
    control.say({ type: 'rewire', ticketIn: message.ticketIn, drawFrom: 0 })
    expect(await tail.server.data(message.ticketIn, new FakeReceiver())).toMatchObject({ length: 0 })
    expect(said(control, 'refused')).toEqual([])
  })
})

describe('a consumer whose connection is lost', () => {
  test('finds its session as it was, and hears what was drawn meanwhile', async () => {
    const session = await tail.open()
    session.data.push(idsAt(0, 3))
    await heard(session.control, 'tokens')
    session.control.end(new Error('reset'))
    session.data.push(idsAt(3, 1))
    session.data.push(idsAt(4, 1))
    await eventually(() => expect(tail.engine.batches).toHaveLength(3))
    await vi.advanceTimersByTimeAsync(GRACE_MS - 100)
    const back = resume(tail, session, 3)
    expect(back.sent.slice(0, 3)).toEqual([
      { type: 'opened', maxRows: 8, capacity: 32 },
      { type: 'tokens', epoch: 0, position: 3, tokens: [drawnAt(3)] },
      { type: 'tokens', epoch: 0, position: 4, tokens: [drawnAt(4)] }
    ])
    await vi.advanceTimersByTimeAsync(GRACE_MS) // it is waited for no more
    session.data.push(idsAt(5, 1))
    await eventually(() => expect(said(back, 'tokens').at(-1)).toMatchObject({ position: 5 }))
  })

  test('hears nothing of draws that were cut away', async () => {
    const session = await tail.open()
    for (const position of [0, 1, 2]) session.data.push(idsAt(position, 1))
    await eventually(() => expect(said(session.control, 'tokens')).toHaveLength(3))
    session.data.push(idsAt(1, 1, 1))
    await eventually(() => expect(said(session.control, 'tokens')).toHaveLength(4))
    session.control.end(new Error('reset'))
    const drawn = said(resume(tail, session), 'tokens').map(({ epoch, position }) => [epoch, position])
    expect(drawn).toEqual([
      [0, 0],
      [1, 1]
    ])
  })

  test('does not come back: the place is free after a while, not before', async () => {
    const session = await tail.open()
    session.control.end(new Error('reset'))
    await vi.advanceTimersByTimeAsync(GRACE_MS - 100)
    expect(tail.stage.free.sequences).toBe(1)
    await vi.advanceTimersByTimeAsync(100)
    expect(tail.stage.free).toEqual(FREE)
    expect(session.data.hasEnded).toBe(true)
    expect(await heard(resume(tail, session), 'refused')).toMatchObject({ code: 'session' })
  })

  test('comes back before the stage has noticed: the old stream is done with', async () => {
    const session = await tail.open()
    const back = resume(tail, session)
    expect(session.control.error).toBeDefined()
    await vi.advanceTimersByTimeAsync(2 * GRACE_MS)
    session.data.push(idsAt(0, 1))
    await heard(back, 'tokens')
    expect(said(session.control, 'tokens')).toEqual([])
  })

  test('twice has the whole time twice', async () => {
    const session = await tail.open()
    session.control.end(new Error('reset'))
    await vi.advanceTimersByTimeAsync(GRACE_MS - 100)
    const back = resume(tail, session)
    back.end(new Error('reset again'))
    await vi.advanceTimersByTimeAsync(GRACE_MS - 100)
    expect(said(resume(tail, session), 'opened')).toHaveLength(1)
  })

  test('is not anybody who knows the session', async () => {
    const session = await tail.open()
    session.control.end(new Error('reset'))
    const thief = resume(tail, session, 0, 'thief')
    expect(await heard(thief, 'refused')).toMatchObject({ code: 'session' })
    expect(said(resume(tail, session), 'opened')).toHaveLength(1)
  })

  test('and ends it in good order when it is back frees all at once', async () => {
    const session = await tail.open()
    session.control.end(new Error('reset'))
    resume(tail, session).end()
    await tail.becomesFree()
  })
})

describe('more positions', () => {
  test('are given where there is room, and can be used', async () => {
    const { control, data } = await tail.open({ reserve: 4 })
    control.say({ type: 'extend', reserve: 64 })
    expect(await heard(control, 'extended')).toEqual({ type: 'extended', capacity: 64 })
    expect(tail.stage.free.positions).toBe(0)
    data.push(idsAt(0, 8))
    await heard(control, 'tokens')
    control.say({ type: 'close' })
    await tail.becomesFree()
  })

  test('than there are end the session, and free its place', async () => {
    const [one, two] = [await tail.open({ reserve: 32 }), await tail.open({ reserve: 16 })]
    one.control.say({ type: 'extend', reserve: 49 })
    expect(await heard(one.control, 'refused')).toMatchObject({
      code: 'full',
      message: '17 positions asked for, 16 are free'
    })
    expect(tail.stage.free).toEqual({ sequences: 1, positions: 48 })
    two.data.push(idsAt(0, 1))
    await heard(two.control, 'tokens')
  })

  test('fewer than it has are what it has', async () => {
    const { control } = await tail.open({ reserve: 32 })
    control.say({ type: 'extend', reserve: 3 })
    expect((await heard(control, 'extended')).capacity).toBe(32)
    expect(tail.stage.free.positions).toBe(32)
  })

  test('are not taken by who has ended in the same breath', async () => {
    const { control, data } = await first.open()
    const other = first.ticket()
    control.say(
      { type: 'close' },
      { type: 'extend', reserve: 64 },
      { type: 'rewire', ticketIn: other, next: first.nextHop(), drawFrom: 0 }
    )
    expect(first.stage.free).toEqual(FREE)
    const late = first.server.data(other, data)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(await late).toBeUndefined()
    expect(said(control, 'linked')).toHaveLength(1)
  })
})

describe('idle sessions', () => {
  test('go when a place is needed, the longest idle first, and no more of them than needed', async () => {
    const one = await tail.open({ reserve: 32 })
    await vi.advanceTimersByTimeAsync(10)
    const two = await tail.open({ reserve: 32 })
    one.data.push(idsAt(0, 1))
    await heard(one.control, 'tokens')
    await vi.advanceTimersByTimeAsync(10) // `two` has been idle for longer now
    two.control.say({ type: 'ping', nonce: 1 }) // asks for nothing
    await vi.advanceTimersByTimeAsync(MIN_IDLE_MS)
    await tail.open({ reserve: 16 })
    expect(await heard(two.control, 'refused')).toMatchObject({ code: 'idle' })
    expect(said(one.control, 'refused')).toEqual([])
    await tail.open({ reserve: 32 })
    expect(await heard(one.control, 'refused')).toMatchObject({ code: 'idle' })
  })

  test('are left alone for a while', async () => {
    const one = await tail.open({ reserve: 64 })
    await vi.advanceTimersByTimeAsync(MIN_IDLE_MS - 100)
    const other = tail.say(tail.openMessage({ reserve: 1 }))
    expect(await heard(other, 'refused')).toMatchObject({ code: 'full' })
    expect(said(one.control, 'refused')).toEqual([])
  })

  test('are not those whose rows wait for the engine', async () => {
    const { control, data } = await tail.open({ reserve: 64 })
    const goOn = tail.engine.pause()
    data.push(idsAt(0, 1))
    await vi.advanceTimersByTimeAsync(MIN_IDLE_MS / 20) // less than the engine's deadline
    vi.spyOn(performance, 'now').mockReturnValueOnce(performance.now() + MIN_IDLE_MS)
    expect(await heard(tail.say(tail.openMessage({ reserve: 1 })), 'refused')).toMatchObject({ code: 'full' })
    goOn()
    await heard(control, 'tokens')
  })

  test('are not sent away for somebody who would not fit even so', async () => {
    const one = await tail.open({ reserve: 32 })
    await vi.advanceTimersByTimeAsync(MIN_IDLE_MS)
    const two = await tail.open({ reserve: 16 })
    const greedy = tail.say(tail.openMessage({ reserve: 49 }))
    expect(await heard(greedy, 'refused')).toMatchObject({ code: 'full' })
    two.control.say({ type: 'extend', reserve: 65 })
    await heard(two.control, 'refused')
    expect(said(one.control, 'refused')).toEqual([])
  })

  test('are not those who ask for more room: others go', async () => {
    const one = await tail.open({ reserve: 32 })
    await vi.advanceTimersByTimeAsync(10)
    const two = await tail.open({ reserve: 32 })
    await vi.advanceTimersByTimeAsync(MIN_IDLE_MS)
    one.control.say({ type: 'extend', reserve: 40 })
    expect((await heard(one.control, 'extended')).capacity).toBe(40)
    expect(await heard(two.control, 'refused')).toMatchObject({ code: 'idle' })
    expect(tail.stage.free).toEqual({ sequences: 1, positions: 24 })
  })

  test('go after a long while, needed or not', async () => {
    const { control } = await tail.open()
    await vi.advanceTimersByTimeAsync(MAX_IDLE_MS - 100)
    expect(tail.stage.free.sequences).toBe(1)
    await vi.advanceTimersByTimeAsync(MAX_IDLE_MS / 15 + 100)
    expect(await heard(control, 'refused')).toMatchObject({ code: 'idle' })
    expect(tail.stage.free).toEqual(FREE)
  })
})

describe('a node that leaves', () => {
  test('says so, takes nobody new, and goes when all have moved', async () => {
    const [one, two] = [await tail.open(), await tail.open()]
    let isDone = false
    const done = tail.server.drain().then(() => {
      isDone = true
    })
    for (const { control } of [one, two]) expect(said(control, 'leaving')).toHaveLength(1)
    const refused = await heard(tail.say(tail.openMessage()), 'refused')
    expect(refused.code).toBe('stopping')
    one.data.push(idsAt(0, 2)) // who has nowhere to go yet is served
    await heard(one.control, 'tokens')
    one.control.say({ type: 'close' })
    await vi.advanceTimersByTimeAsync(1)
    expect(isDone).toBe(false)
    two.control.end()
    await done
    expect(tail.server.sessions).toBe(0)
  })

  test('says it again to a consumer that comes back, which is served on', async () => {
    const session = await tail.open()
    session.control.end(new Error('reset'))
    void tail.server.drain()
    const back = resume(tail, session)
    expect(back.sent.map(({ type }) => type)).toEqual(['opened', 'leaving'])
  })

  test('waits no longer than it is told to', async () => {
    await tail.open()
    const patience = new AbortController()
    const done = tail.server.drain(patience.signal)
    patience.abort()
    await done
    await tail.server.drain(AbortSignal.abort())
    expect(tail.server.sessions).toBe(1)
  })

  test('without sessions goes at once', async () => {
    await tail.server.drain()
  })
})

describe('a stage that leaves its node', () => {
  test('is not named or served any more, and goes when its sessions have moved', async () => {
    const other = await TestStage.start({ blockCount: 4 })
    tail.server.add(other.stage)
    const { control } = await tail.open()
    const retired = tail.server.retire(tail.stage)
    expect(said(control, 'leaving')).toHaveLength(1)
    expect(tail.server.infos).toEqual([other.stage.info])
    expect((await heard(tail.say(tail.openMessage()), 'refused')).code).toBe('span')
    control.say({ type: 'close' })
    await retired
    await other.stage.stop()
  })

  test('ends those that stay too long', async () => {
    const { control } = await tail.open()
    await tail.server.retire(tail.stage, AbortSignal.abort())
    expect(await heard(control, 'refused')).toMatchObject({ code: 'stopping' })
    expect(tail.server.sessions).toBe(0)
  })
})

describe('a ping', () => {
  test('is answered with where the session stands', async () => {
    const { control, data } = await tail.open()
    control.say({ type: 'ping', nonce: 7 })
    const nothing = { epoch: 0, length: 0, computed: 0, receivedBytes: 0, stepMicroseconds: 0 }
    expect(said(control, 'pong')).toEqual([{ type: 'pong', nonce: 7, ...nothing }])
    tail.engine.duration = () => 20
    data.push(idsAt(0, 2, 3))
    data.push(idsAt(2, 3, 3))
    data.bytesReceived = 50
    control.say({ type: 'ping', nonce: 8 })
    const underway = { ...nothing, epoch: 3, length: 5, receivedBytes: 50 }
    expect(said(control, 'pong').at(-1)).toEqual({ type: 'pong', nonce: 8, ...underway })
    await computed(control, 5)
    control.say({ type: 'ping', nonce: 9 })
    const pong = said(control, 'pong').at(-1)
    expect(pong).toMatchObject({ nonce: 9, epoch: 3, length: 5, computed: 5 })
    expect(pong?.stepMicroseconds).toBeGreaterThan(1_000)
  })
})

describe('another sampler', () => {
  test('draws what comes after it, and nothing before', async () => {
    const { control, data } = await tail.open()
    data.push(idsAt(0, 1))
    await heard(control, 'tokens')
    control.say({ type: 'resample', sampler: { ...SAMPLER, seed: 5 } })
    data.push(idsAt(1, 1))
    await eventually(() => expect(said(control, 'tokens')).toHaveLength(2))
    expect(said(control, 'tokens').flatMap(({ tokens }) => tokens)).toEqual([drawnAt(0), drawnAt(1) + 5])
  })

  test('is named by the draws, also by those that were under way when it came', async () => {
    const sampler = { ...SAMPLER, version: 1 }
    const { control, data } = await tail.open({ sampler })
    expect(await heard(control, 'opened')).toMatchObject({ sampler: 1 })
    const resume = tail.engine.pause()
    data.push(idsAt(0, 1))
    control.say({ type: 'resample', sampler: { ...sampler, seed: 5, version: 2 } })
    data.push(idsAt(1, 1))
    resume()
    await eventually(() => expect(said(control, 'tokens')).toHaveLength(2))
    expect(said(control, 'tokens')).toMatchObject([
      { tokens: [drawnAt(0)], sampler: 1 },
      { tokens: [drawnAt(1) + 5], sampler: 2 }
    ])
  })

  test('that the engine does not take ends the session', async () => {
    const { control } = await tail.open()
    control.say({ type: 'resample', sampler: { ...SAMPLER, repeatPenalty: 0 } })
    expect(await heard(control, 'refused')).toMatchObject({ code: 'input' })
    await tail.becomesFree()
  })
})
