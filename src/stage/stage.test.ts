// A stage and its server over streams in memory, with an engine of arithmetic.
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { FakeControl, FakeData, FakeReceiver } from '../../test/streams.ts'
import type { ControlMessage, DataSender, Frame, Open, Profile, SamplerOptions } from '../net/index.ts'
import { StageServer } from './server.ts'
import { Stage } from './stage.ts'
import { ArithmeticEngine, nextToken } from './testing.ts'

const MODEL = 'a'.repeat(64)
const PROFILE: Profile = {
  ...{ kvTypeK: 'f16', kvTypeV: 'f16', flashAttention: true, codec: 'f32', longContext: false }
}
const SAMPLER: SamplerOptions = {
  ...{ temperature: 0, topK: 0, topP: 1, minP: 0, penaltyLastN: 0, repeatPenalty: 1, frequencyPenalty: 0 },
  ...{ presencePenalty: 0, logitBias: [], seed: 0, grammar: '', generatedFrom: 0 }
}
const LIMITS = { context: 64, sequences: 2, maxRows: 8 }

function eventually<T>(check: () => T): Promise<T> {
  return vi.waitFor(check, { timeout: 5_000, interval: 2 })
}

let engine: ArithmeticEngine
let stage: Stage
let server: StageServer
let next: FakeData
/** What the stage's host does when it dials the next hop. */
let dial: (signal: AbortSignal | undefined) => Promise<DataSender>
let lastTicket = 0

/** A node with blocks [0, 2) of `blockCount`: the tail, or a first stage. */
async function host(blockCount: number): Promise<void> {
  engine = new ArithmeticEngine(LIMITS)
  next = new FakeData()
  dial = async () => next
  const span = { model: MODEL, name: 'm', architecture: 'llama', start: 0, end: 2, blockCount }
  stage = new Stage({ engine }, { ...span, profile: PROFILE })
  server = new StageServer({ host: { openData: (_peer, _addresses, _ticket, signal) => dial(signal) } })
  server.add(stage)
  await stage.start()
}

function ticket(): Uint8Array {
  lastTicket += 1
  return new Uint8Array(16).fill(lastTicket)
}

function openMessage(changes: Partial<Open> = {}): Open {
  const head = stage.info.head
  return {
    ...{ type: 'open', session: ticket(), model: MODEL, start: 0, end: 2, head, profile: PROFILE },
    ...{ ticketIn: ticket(), reserve: 32 },
    ...(head ? { sampler: SAMPLER } : { next: { peer: 'b', addresses: [], ticket: ticket() } }),
    ...changes
  }
}

function say(message: ControlMessage): FakeControl {
  const control = new FakeControl()
  server.control(control)
  control.say(message)
  return control
}

async function open(changes: Partial<Open> = {}): Promise<{ control: FakeControl; data: FakeReceiver }> {
  const message = openMessage(changes)
  const control = say(message)
  const data = new FakeReceiver()
  expect(await server.data(message.ticketIn, data)).toBe(true)
  await heard(control, 'opened')
  return { control, data }
}

async function heard<T extends ControlMessage['type']>(
  control: FakeControl,
  type: T
): Promise<Extract<ControlMessage, { type: T }>> {
  return eventually(() => {
    const message = control.sent.find((sent) => sent.type === type)
    if (message === undefined) throw new Error(`no ${type} among ${JSON.stringify(control.sent)}`)
    return message as Extract<ControlMessage, { type: T }>
  })
}

function frame(position: number, count: number, epoch = 0): Frame {
  const tokens = Int32Array.from({ length: count }, (_, index) => position + index)
  return { epoch, position, tokens, sample: 'last', codec: 'none', payload: new Uint8Array(0) }
}

const FREE = { sequences: LIMITS.sequences, positions: LIMITS.context }

function becomesFree(): Promise<void> {
  return eventually(() => expect(stage.free).toEqual(FREE))
}

beforeEach(() => host(2))

describe('places', () => {
  test('are given until none is left, and refusals say what is', async () => {
    await open({ reserve: 40 })
    expect((await heard(say(openMessage({ reserve: 25 })), 'refused')).message).toContain('24 are free')
    await open({ reserve: 24 })
    expect(await heard(say(openMessage({ reserve: 1 })), 'refused')).toMatchObject({ code: 'full' })
  })

  test('come back when sessions end, whoever ends them', async () => {
    const [byClose, byEnd] = [await open(), await open()]
    byClose.control.say({ type: 'close' })
    byEnd.control.end(new Error('connection lost'))
    await becomesFree()
    const byFault = await open()
    byFault.data.push(frame(30, 3)) // a gap is no fault
    byFault.data.push({ ...frame(0, 1), codec: 'f32', payload: new Uint8Array(8) })
    expect(await heard(byFault.control, 'refused')).toMatchObject({ code: 'input' })
    await becomesFree()
    expect([byClose, byEnd, byFault].map(({ data }) => data.hasEnded)).toEqual([true, true, true])
    expect(server.sessions).toBe(0)
  })

  test('come back while the session’s own streams are still open', async () => {
    const { control } = await open()
    control.close = () => new Promise(() => {}) // the consumer does not end its half
    control.say({ type: 'close' })
    await becomesFree()
  })

  test('come back while the next hop is being dialled', async () => {
    await host(4)
    let wasAborted = false
    dial = (signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          wasAborted = true
          reject(new Error('aborted'))
        })
      })
    const control = say(openMessage())
    expect(stage.free.positions).toBe(32)
    control.say({ type: 'close' })
    await becomesFree()
    expect([wasAborted, control.sent]).toEqual([true, []])
  })

  test('of a dead engine are nobody’s until it is back, and then all free', async () => {
    const { control, data } = await open()
    engine.die()
    expect(await heard(control, 'refused')).toMatchObject({ code: 'engine' })
    expect(data.hasEnded).toBe(true)
    expect(await heard(say(openMessage()), 'refused')).toMatchObject({ code: 'engine' })
    engine.restart()
    expect(stage.free).toEqual(FREE)
    const again = await open()
    again.data.push(frame(0, 3))
    expect((await heard(again.control, 'tokens')).tokens).toEqual([nextToken([0, 1, 2])])
  })
})

describe('a ticket', () => {
  test('is for one session', async () => {
    const message = openMessage()
    say(message)
    expect(await heard(say({ ...openMessage(), ticketIn: message.ticketIn }), 'refused')).toMatchObject({
      code: 'ticket'
    })
  })

  test('may come before its Open, but once', async () => {
    const message = openMessage()
    const early = server.data(message.ticketIn, new FakeReceiver())
    expect(await server.data(message.ticketIn, new FakeReceiver())).toBe(false)
    say(message)
    expect(await early).toBe(true)
  })

  test('is void when its session has ended', async () => {
    const message = openMessage()
    const control = say(message)
    await heard(control, 'opened')
    control.say({ type: 'close' })
    const late = server.data(message.ticketIn, new FakeReceiver())
    await server.stop() // what waits for its Open waits no longer
    expect(await late).toBe(false)
  })

  test('presented again replaces the stream before, as a new hop does', async () => {
    const message = openMessage()
    const control = say(message)
    const [first, second] = [new FakeReceiver(), new FakeReceiver()]
    await server.data(message.ticketIn, first)
    await server.data(message.ticketIn, second)
    expect([first.hasEnded, second.hasEnded]).toEqual([true, false])
    second.push(frame(0, 2))
    await heard(control, 'tokens')
  })
})

describe('frames', () => {
  test('wait until the next hop is there', async () => {
    await host(4)
    const reached = Promise.withResolvers<DataSender>()
    dial = () => reached.promise
    const message = openMessage()
    const control = say(message)
    const data = new FakeReceiver()
    await server.data(message.ticketIn, data)
    data.push(frame(0, 2))
    expect(data.waiting).toHaveLength(1)
    reached.resolve(next)
    await heard(control, 'opened')
    await eventually(() => expect(next.frames).toHaveLength(1))
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
    const resume = engine.pause()
    data.push(frame(0, 3)) // under way
    data.push(frame(3, 3)) // waits
    data.push(frame(5, 2, 1))
    data.push(frame(2, 2, 2))
    data.push(frame(4, 1, 2))
    resume()
    await eventually(() =>
      expect(control.sent).toContainEqual(expect.objectContaining({ epoch: 2, position: 4 }))
    )
    expect(engine.histories.some((history) => history.join() === '0,1,2,3,4')).toBe(true)
  })

  test('beyond the reservation end the session', async () => {
    const { control, data } = await open({ reserve: 4 })
    data.push(frame(0, 4))
    data.push(frame(4, 1))
    expect((await heard(control, 'refused')).message).toContain('beyond the 4 reserved')
  })

  test('far ahead of the engine hold the sender up', async () => {
    const { control, data } = await open({ reserve: 64 })
    const resume = engine.pause()
    for (let position = 0; position < 64; position += 8) data.push(frame(position, 8))
    // One batch is under way, four wait here, the others with the sender.
    expect([data.isPaused, data.waiting.length]).toEqual([true, 3])
    resume()
    await eventually(() => expect(control.sent.filter(({ type }) => type === 'tokens')).toHaveLength(8))
    expect(data.isPaused).toBe(false)
  })

  test('that were held up go on after a truncation has left nothing of them', async () => {
    const { control, data } = await open({ reserve: 64 })
    const resume = engine.pause()
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

  test('that is slow stops the session’s computing, not the memory', async () => {
    next.room = 1
    const { data } = await open({ reserve: 64 })
    for (let position = 0; position < 64; position += 8) data.push(frame(position, 8))
    await eventually(() => expect(next.frames).toHaveLength(2))
    expect([engine.batches.length, data.isPaused]).toEqual([2, true])
    next.drain()
    await eventually(() => expect(next.frames).toHaveLength(8))
    expect(next.frames.map(({ position }) => position)).toEqual([0, 8, 16, 24, 32, 40, 48, 56])
  })

  test('that goes away ends the session', async () => {
    const { control } = await open()
    next.abort(new Error('reset by peer'))
    expect(await heard(control, 'refused')).toEqual({
      ...{ type: 'refused', code: 'next', message: 'the next hop is gone: reset by peer' }
    })
    await becomesFree()
  })

  test('that cannot be reached is said, as long as the wire allows', async () => {
    dial = () => Promise.reject(new Error(`${'no '.repeat(1_000)}🐠`))
    const { code, message } = await heard(say(openMessage()), 'refused')
    expect([code, message.length]).toEqual(['next', 1_024])
    await becomesFree()
  })
})

test('the node’s leaving ends sessions with that reason, and no new ones are opened', async () => {
  const { control } = await open()
  await server.stop()
  expect(await heard(control, 'refused')).toMatchObject({ code: 'stopping' })
  expect(await heard(say(openMessage()), 'refused')).toMatchObject({ code: 'stopping' })
  await becomesFree()
})

test('a stage can be started again', async () => {
  await stage.stop()
  expect(await heard(say(openMessage()), 'refused')).toMatchObject({ code: 'stopping' })
  await stage.start()
  await open()
  engine.die()
  expect(server.sessions).toBe(0)
})

test('a grammar that allows nothing more ends its session only', async () => {
  const [first, second] = [await open(), await open()]
  const run = engine.run.bind(engine)
  engine.run = async (groups) => {
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
    'the grammar allows no token after position 0'
  )
  await heard(second.control, 'tokens')
})
