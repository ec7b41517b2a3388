// A stage and its server over streams in memory, with an engine of arithmetic.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { FakeData, FakeReceiver } from '../../test/streams.ts'
import type { GroupResult, RowGroup } from '../engine/index.ts'
import {
  bytesPerRow,
  type DataSender,
  encodeRows,
  type Frame,
  type Open,
  ROW_CODECS,
  type RowCodec
} from '../net/index.ts'
import {
  eventually,
  FREE,
  idsAt as frame,
  heard,
  nextToken,
  said,
  type TestSession,
  TestStage
} from './testing.ts'

let node: TestStage

/** Blocks [0, 2) of `blockCount`: the tail, or a first stage. */
async function host(blockCount: number): Promise<void> {
  node = await TestStage.start({ blockCount })
}

function open(changes: Partial<Open> = {}): Promise<TestSession> {
  return node.open(changes)
}

beforeEach(() => host(2))

describe('places', () => {
  test('are given until none is left, and refusals say what is', async () => {
    await open({ reserve: 40 })
    expect((await heard(node.say(node.openMessage({ reserve: 25 })), 'refused')).message).toContain(
      '24 are free'
    )
    await open({ reserve: 24 })
    expect(await heard(node.say(node.openMessage({ reserve: 1 })), 'refused')).toMatchObject({ code: 'full' })
  })

  test('come back when sessions end, whoever ends them', async () => {
    const [byClose, byEnd] = [await open(), await open()]
    byClose.control.say({ type: 'close' })
    byEnd.control.end()
    await node.becomesFree()
    const byFault = await open()
    byFault.data.push(frame(30, 3)) // a gap is no fault
    byFault.data.push({ ...frame(0, 1), codec: 'f32', payload: new Uint8Array(8) })
    expect(await heard(byFault.control, 'refused')).toMatchObject({ code: 'input' })
    await node.becomesFree()
    expect([byClose, byEnd, byFault].map(({ data }) => data.hasEnded)).toEqual([true, true, true])
    expect(node.server.sessions).toBe(0)
  })

  test('come back while the session’s own streams are still open', async () => {
    const { control } = await open()
    control.close = () => new Promise(() => {}) // the consumer does not end its half
    control.say({ type: 'close' })
    await node.becomesFree()
  })

  test('come back while the next hop is being dialled', async () => {
    await host(4)
    let wasAborted = false
    node.dial = (_, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          wasAborted = true
          reject(new Error('aborted'))
        })
      })
    const control = node.say(node.openMessage())
    expect(node.stage.free.positions).toBe(32)
    control.say({ type: 'close' })
    await node.becomesFree()
    expect([wasAborted, control.sent.map(({ type }) => type)]).toEqual([true, ['opened']])
  })

  test('of a dead engine are nobody’s until it is back, and then all free', async () => {
    const { control, data } = await open()
    node.engine.die()
    expect(await heard(control, 'refused')).toMatchObject({ code: 'engine' })
    expect(data.hasEnded).toBe(true)
    expect(await heard(node.say(node.openMessage()), 'refused')).toMatchObject({ code: 'engine' })
    node.engine.restart()
    expect(node.stage.free).toEqual(FREE)
    const again = await open()
    again.data.push(frame(0, 3))
    expect((await heard(again.control, 'tokens')).tokens).toEqual([nextToken([0, 1, 2])])
  })
})

describe('a ticket', () => {
  test('whose sender gives up before its session is open waits no longer', async () => {
    const streams = Array.from({ length: 64 }, () => new FakeReceiver())
    const answers = streams.map((stream) => node.server.data(node.ticket(), stream))
    expect(await node.server.data(node.ticket(), new FakeReceiver())).toBeUndefined() // too many wait
    for (const stream of streams) stream.abort(new Error('refused elsewhere'))
    expect(await Promise.all(answers)).toEqual(streams.map(() => undefined))
    const message = node.openMessage()
    const early = node.server.data(message.ticketIn, new FakeReceiver())
    node.say(message)
    expect(await early).toMatchObject({ length: 0 })
  })

  test('is for one session', async () => {
    const message = node.openMessage()
    node.say(message)
    expect(
      await heard(node.say({ ...node.openMessage(), ticketIn: message.ticketIn }), 'refused')
    ).toMatchObject({
      code: 'ticket'
    })
  })

  test('may come before its Open, but once', async () => {
    const message = node.openMessage()
    const early = node.server.data(message.ticketIn, new FakeReceiver())
    expect(await node.server.data(message.ticketIn, new FakeReceiver())).toBeUndefined()
    node.say(message)
    expect(await early).toEqual({ epoch: 0, length: 0, maxRows: 8 })
  })

  test('is void when its session has ended', async () => {
    const message = node.openMessage()
    const control = node.say(message)
    await heard(control, 'opened')
    control.say({ type: 'close' })
    const late = node.server.data(message.ticketIn, new FakeReceiver())
    await node.server.stop() // what waits for its Open waits no longer
    expect(await late).toBeUndefined()
  })

  test('presented again replaces the stream before, as a new hop does', async () => {
    const message = node.openMessage()
    const control = node.say(message)
    const [first, second] = [new FakeReceiver(), new FakeReceiver()]
    await node.server.data(message.ticketIn, first)
    await node.server.data(message.ticketIn, second)
    expect([first.hasEnded, second.hasEnded]).toEqual([true, false])
    second.push(frame(0, 2))
    await heard(control, 'tokens')
  })
})

describe('frames', () => {
  test('are computed before the next hop is there, and go to it when it is', async () => {
    await host(4)
    const reached = Promise.withResolvers<DataSender>()
    node.dial = () => reached.promise
    const { message, control, data } = await open()
    data.push(frame(0, 2))
    await eventually(() => expect(node.engine.batches).toHaveLength(1))
    expect(said(control, 'linked')).toEqual([])
    reached.resolve(node.next)
    expect((await heard(control, 'linked')).ticket).toEqual(message.next?.ticket)
    await eventually(() => expect(node.next.frames).toHaveLength(1))
  })

  test('wait until the session is open', async () => {
    const goOn = node.engine.pause()
    const message = node.openMessage()
    const control = node.say(message)
    const data = new FakeReceiver()
    await node.server.data(message.ticketIn, data)
    data.push(frame(0, 2))
    expect([data.waiting.length, control.sent]).toEqual([1, []])
    goOn()
    await heard(control, 'tokens')
    expect(control.sent[0]).toEqual({ type: 'opened', maxRows: 8, capacity: 32 })
  })

  test('that skip some are answered with what is needed, in their epoch', async () => {
    const { control, data } = await open()
    data.push(frame(0, 2))
    data.push(frame(3, 1))
    data.push(frame(5, 1, 7))
    expect(control.sent.filter(({ type }) => type === 'need')).toEqual([
      { type: 'need', epoch: 0, length: 2 },
      { type: 'need', epoch: 7, length: 2 }
    ])
  })

  test('of a newer epoch cut what is computed and what waits', async () => {
    const { control, data } = await open()
    const resume = node.engine.pause()
    data.push(frame(0, 3)) // under way
    data.push(frame(3, 3)) // waits
    data.push(frame(5, 2, 1))
    data.push(frame(2, 2, 2))
    data.push(frame(4, 1, 2))
    resume()
    await eventually(() =>
      expect(control.sent).toContainEqual(expect.objectContaining({ epoch: 2, position: 4 }))
    )
    expect(node.engine.histories.some((history) => history.join() === '0,1,2,3,4')).toBe(true)
  })

  test('beyond the reservation end the session', async () => {
    const { control, data } = await open({ reserve: 4 })
    data.push(frame(0, 4))
    data.push(frame(4, 1))
    expect((await heard(control, 'refused')).message).toContain('beyond the 4 reserved')
  })

  test('far ahead of the engine hold the sender up', async () => {
    const { control, data } = await open({ reserve: 64 })
    const resume = node.engine.pause()
    for (let position = 0; position < 64; position += 8) data.push(frame(position, 8))
    // One batch is under way, four wait here, the others with the sender.
    expect([data.isPaused, data.waiting.length]).toEqual([true, 3])
    resume()
    await eventually(() => expect(control.sent.filter(({ type }) => type === 'tokens')).toHaveLength(8))
    expect(data.isPaused).toBe(false)
  })

  test('that were held up go on after a truncation has left nothing of them', async () => {
    const { control, data } = await open({ reserve: 64 })
    const resume = node.engine.pause()
    for (let position = 0; position < 40; position += 8) data.push(frame(position, 8))
    expect(data.isPaused).toBe(true)
    data.resume() // one was in hand
    data.push(frame(2, 2, 1))
    data.push(frame(4, 2, 1))
    resume()
    await eventually(() =>
      expect(control.sent).toContainEqual(expect.objectContaining({ epoch: 1, position: 5 }))
    )
    expect(data.isPaused).toBe(false)
  })
})

describe('the next hop', () => {
  beforeEach(() => host(4))

  test('that is slow stops nothing: its rows go to the log, and beyond memory to the disk', async () => {
    const logFolder = mkdtempSync(join(tmpdir(), 'shoal-stage-'))
    node = await TestStage.start({ blockCount: 4, logFolder, logMemoryBytes: 64 }) // of 512
    node.next.room = 1
    const { control, data } = await open({ reserve: 64 })
    for (let position = 0; position < 64; position += 8) data.push(frame(position, 8))
    await eventually(() => expect(node.engine.batches).toHaveLength(8))
    expect([node.next.frames.length, data.isPaused]).toEqual([1, false])
    node.next.drain()
    await eventually(() => expect(node.next.frames).toHaveLength(8))
    expect(node.next.frames.map(({ position }) => position)).toEqual([0, 8, 16, 24, 32, 40, 48, 56])
    expect(hiddenOf(node.next.frames)).toEqual(
      Array.from({ length: 64 }, (_, row) => nextToken(Array.from({ length: row + 1 }, (_, id) => id)))
    )
    control.say({ type: 'close' })
    await node.becomesFree()
    rmSync(logFolder, { recursive: true })
  })

  test('that goes away is said, and the session goes on without it', async () => {
    const { message, control, data } = await open()
    data.push(frame(0, 2))
    await eventually(() => expect(node.next.frames).toHaveLength(1))
    node.next.abort(new Error('reset by peer'))
    expect(await heard(control, 'unlinked')).toEqual({
      ...{ type: 'unlinked', ticket: message.next?.ticket, message: 'reset by peer' }
    })
    data.push(frame(2, 2))
    await eventually(() => expect(node.engine.batches).toHaveLength(2))
    control.say({ type: 'ping', nonce: 1 })
    expect(await heard(control, 'pong')).toMatchObject({ length: 4, computed: 4 })
    expect(node.next.frames).toHaveLength(1)
  })

  test('that cannot be reached is said, as long as the wire allows', async () => {
    node.dial = () => Promise.reject(new Error(`${'no '.repeat(1_000)}🐠`))
    const { message, control } = await open()
    const unlinked = await heard(control, 'unlinked')
    expect([unlinked.ticket, unlinked.message.length]).toEqual([message.next?.ticket, 1_024])
    expect(said(control, 'refused')).toEqual([])
    control.say({ type: 'close' })
    await node.becomesFree()
  })
})

test('the node’s leaving ends sessions with that reason, and no new ones are opened', async () => {
  const { control } = await open()
  await node.server.stop()
  expect(await heard(control, 'refused')).toMatchObject({ code: 'stopping' })
  expect(await heard(node.say(node.openMessage()), 'refused')).toMatchObject({ code: 'stopping' })
  await node.becomesFree()
})

test('a stage can be started again', async () => {
  await node.stage.stop()
  expect(await heard(node.say(node.openMessage()), 'refused')).toMatchObject({ code: 'stopping' })
  await node.stage.start()
  await open()
  node.engine.die()
  expect(node.server.sessions).toBe(0)
})

test('a grammar that allows nothing more ends its session only', async () => {
  const [first, second] = [await open(), await open()]
  const run = node.engine.run.bind(node.engine)
  node.engine.run = async (groups) => {
    const result = await run(groups)
    return {
      ...result,
      groups: groups.map(({ sequence }, index) =>
        sequence === 0 ? { sampled: Int32Array.of(-1) } : result.groups[index]
      ) as typeof result.groups
    }
  }
  first.data.push(frame(0, 1))
  second.data.push(frame(0, 1))
  expect((await heard(first.control, 'refused')).message).toContain(
    'the grammar allows no token after the rows at position 0'
  )
  await heard(second.control, 'tokens')
})

/** The first number of each row, which the engine of arithmetic makes of the ids. */
function hiddenOf(frames: readonly Frame[]): number[] {
  return frames.flatMap(({ payload }) => {
    const floats = new Float32Array(payload.buffer, payload.byteOffset, payload.byteLength / 4)
    return Array.from(floats.filter((_, index) => index % 2 === 0))
  })
}

describe('a codec', () => {
  const next = (codec: string): Promise<TestSession> =>
    open({ profile: { ...node.stage.info.profile, codec } })

  beforeEach(async () => {
    node = await TestStage.start({ start: 2, blockCount: 6 }) // from the middle
  })

  function rows(codec: RowCodec, values: readonly [number, number]): Frame {
    const payload = new Uint8Array(bytesPerRow(codec, 2))
    encodeRows(codec, Float32Array.from(values), 2, payload)
    return { ...frame(0, 1), codec, payload }
  }

  test.each(ROW_CODECS)('%s is what frames come in, and go on in', async (codec) => {
    const { data } = await next(codec)
    data.push(rows(codec, [1, 2]))
    const [sent] = await eventually(() => {
      expect(node.next.frames).toHaveLength(1)
      return node.next.frames as [Frame]
    })
    const token = nextToken([0])
    expect(sent).toEqual({ ...rows(codec, [token, -token]), position: 0 })
    const [given] = node.engine.batches[0] as [RowGroup]
    expect(given.hidden?.[1]).toBeCloseTo(2, 2)
  })

  test('that the session does not have is not taken', async () => {
    const { control, data } = await next('f16')
    data.push(rows('bf16', [1, 2]))
    expect(await heard(control, 'refused')).toMatchObject({
      code: 'input',
      message: expect.stringContaining('f16')
    })
  })

  test('that nobody knows is refused', async () => {
    const profile = { ...node.stage.info.profile, codec: 'q2' }
    const control = node.say(node.openMessage({ profile }))
    expect(await heard(control, 'refused')).toMatchObject({
      code: 'profile',
      message: expect.stringContaining('q2')
    })
    expect(node.stage.info.codecs).toEqual(ROW_CODECS)
  })

  test('that can’t hold the rows costs the session, and nothing is sent', async () => {
    const run = node.engine.run.bind(node.engine)
    node.engine.run = async (groups) => {
      const { groups: results, computeMs } = await run(groups)
      const grown = results.map(({ hidden, ...rest }) => ({
        ...rest,
        hidden: hidden?.map((value) => value * 1e4)
      }))
      return { groups: grown as GroupResult[], computeMs }
    }
    const { control, data } = await next('f16')
    data.push(rows('f16', [1, 2]))
    expect(await heard(control, 'refused')).toMatchObject({
      code: 'codec',
      message: expect.stringContaining('position 0 have numbers that f16 cannot hold')
    })
    expect(node.next.frames).toEqual([])
    node.next = new FakeData()
    const other = await next('q8')
    other.data.push(rows('q8', [1, 2]))
    await eventually(() => expect(node.next.frames).toHaveLength(1))
  })
})
