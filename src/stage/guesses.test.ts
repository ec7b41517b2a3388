// Windows of guesses at a tail: what is drawn, and what dies with a wrong guess.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Frame, SampleMode, Tokens } from '../net/index.ts'
import { eventually, heard, nextToken, said, type TestSession, TestStage } from './testing.ts'

const PROMPT = [3, 1, 4]

let tail: TestStage
let session: TestSession

beforeEach(async () => {
  tail = await TestStage.start({ blockCount: 2 })
  session = await tail.open({ reserve: 64 })
})

afterEach(() => tail.server.stop())

/** The ids that an undisturbed session has, prompt included. */
function text(length: number): number[] {
  const ids = [...PROMPT]
  while (ids.length < length) ids.push(nextToken(ids))
  return ids
}

function frame(position: number, tokens: readonly number[], epoch = 0, sample: SampleMode = 'all'): Frame {
  const payload = new Uint8Array(0)
  return { epoch, follows: 0, position, tokens: Int32Array.from(tokens), sample, codec: 'none', payload }
}

async function prompted(): Promise<void> {
  session.data.push(frame(0, PROMPT, 0, 'last'))
  await heard(session.control, 'tokens')
}

function tokens(): Pick<Tokens, 'epoch' | 'position' | 'tokens'>[] {
  return said(session.control, 'tokens').map(({ epoch, position, tokens }) => ({ epoch, position, tokens }))
}

async function standing(): Promise<{ epoch: number; length: number; computed: number }> {
  session.control.say({ type: 'ping', nonce: 1 })
  const { epoch, length, computed } = await eventually(() => {
    const pong = said(session.control, 'pong').at(-1)
    if (pong === undefined || pong.computed < pong.length) {
      session.control.say({ type: 'ping', nonce: 1 })
      throw new Error('it computes')
    }
    return pong
  })
  return { epoch, length, computed }
}

function batches(): number[][] {
  return tail.engine.batches.flatMap((groups) => groups.map(({ tokens }) => [...tokens]))
}

describe('a window', () => {
  test('that was guessed right brings a draw for each row', async () => {
    await prompted()
    session.data.push(frame(3, text(7).slice(3)))
    await eventually(() =>
      expect(tokens().at(-1)).toEqual({ epoch: 0, position: 3, tokens: text(8).slice(4) })
    )
    expect(await standing()).toEqual({ epoch: 0, length: 7, computed: 7 })
  })

  test('brings draws up to the first that was guessed wrong, and what waits behind it is not computed', async () => {
    await prompted()
    const [a, b, c] = text(6).slice(3) as [number, number, number]
    const resume = tail.engine.pause()
    session.data.push(frame(3, [a, b, c + 1, 9, 9, 9, 9, 9]))
    session.data.push(frame(11, [9, 9]))
    session.data.push(frame(13, [9]))
    resume()
    await eventually(() => expect(tokens().at(-1)).toEqual({ epoch: 0, position: 3, tokens: [b, c] }))
    expect(await standing()).toEqual({ epoch: 0, length: 11, computed: 11 })
    expect(batches()).toHaveLength(2)
    // Nor what comes of the same epoch, whether it follows or not.
    session.data.push(frame(11, [9]))
    session.data.push(frame(20, [9]))
    // A newer one cuts back.
    session.data.push(frame(5, [c, text(7)[6] as number], 1))
    await eventually(() =>
      expect(tokens().at(-1)).toEqual({ epoch: 1, position: 5, tokens: text(8).slice(6) })
    )
    expect(await standing()).toEqual({ epoch: 1, length: 7, computed: 7 })
    expect(said(session.control, 'need')).toEqual([])
    expect(batches()).toHaveLength(3)
  })

  test('that goes on otherwise than drawn is void, and so is what follows', async () => {
    await prompted()
    session.data.push(frame(3, [(text(4)[3] as number) + 1, 9]))
    session.data.push(frame(5, [9]))
    session.data.push(frame(3, text(5).slice(3), 1))
    await eventually(() => expect(tokens().at(-1)?.tokens).toEqual(text(6).slice(4)))
    expect(batches()).toHaveLength(2)
    expect(said(session.control, 'need')).toEqual([])
  })

  test('that waits is void when something else is drawn before it', async () => {
    await prompted()
    const resume = tail.engine.pause()
    const right = text(11).slice(3)
    session.data.push(frame(3, right)) // as many as a step can have
    session.data.push(frame(11, [(text(12)[11] as number) + 1, 9]))
    resume()
    await eventually(() => expect(tokens().at(-1)?.tokens).toEqual(text(12).slice(4)))
    expect(await standing()).toEqual({ epoch: 0, length: 11, computed: 11 })
    expect(batches()).toEqual([PROMPT, right])
  })

  test('of an epoch that is over takes nothing of the next one along', async () => {
    await prompted()
    const resume = tail.engine.pause()
    session.data.push(frame(3, [text(4)[3] as number, 9, 9]))
    session.data.push(frame(4, text(6).slice(4), 1))
    resume()
    await eventually(() =>
      expect(tokens().at(-1)).toEqual({ epoch: 1, position: 4, tokens: text(7).slice(5) })
    )
    session.data.push(frame(6, text(8).slice(6), 1))
    await eventually(() => expect(tokens().at(-1)?.tokens).toEqual(text(9).slice(7)))
  })

  test('of one row is told from the next question, which goes on as it likes', async () => {
    await prompted()
    const other = (text(4)[3] as number) + 1
    session.data.push(frame(3, [other], 0, 'last'))
    await eventually(() => expect(tokens().at(-1)?.tokens).toEqual([nextToken([...PROMPT, other])]))
  })
})

test('windows that wait together are computed together', async () => {
  await prompted()
  const resume = tail.engine.pause()
  const right = text(12)
  session.data.push(frame(3, right.slice(3, 4), 0, 'last')) // runs; the others wait
  session.data.push(frame(4, right.slice(4, 6)))
  session.data.push(frame(6, right.slice(6, 7)))
  session.data.push(frame(7, right.slice(7, 10)))
  resume()
  await eventually(() => expect(tokens().at(-1)?.tokens).toEqual(text(11).slice(5)))
  expect(batches()).toEqual([PROMPT, right.slice(3, 4), right.slice(4, 10)])
})

test('a sender that was held up goes on when what waited has died', async () => {
  await prompted()
  const resume = tail.engine.pause()
  session.data.push(frame(3, [text(4)[3] as number, 9]))
  for (let position = 5; position < 60; position++) session.data.push(frame(position, [9]))
  expect(session.data.isPaused).toBe(true)
  resume()
  await eventually(() => expect(session.data.isPaused).toBe(false))
  expect(await standing()).toEqual({ epoch: 0, length: 5, computed: 5 })
})

test('a consumer that comes back hears of a wrong guess again', async () => {
  await prompted()
  const [a, b] = text(5).slice(3) as [number, number]
  session.data.push(frame(3, [a, b + 1, 9]))
  await eventually(() => expect(tokens()).toHaveLength(2))
  session.control.end(new Error('lost'))
  const control = tail.say({ type: 'resume', session: session.message.session, drawFrom: 3 })
  expect(said(control, 'tokens')).toMatchObject([{ epoch: 0, position: 3, tokens: [b] }])
})

test('the text is the same however wrong the guesses are', async () => {
  const windows = fc.array(fc.record({ rows: fc.integer({ min: 1, max: 8 }), isWrong: fc.boolean() }), {
    minLength: 1,
    maxLength: 40
  })
  let misses = 0
  await fc.assert(
    fc.asyncProperty(windows, fc.nat(3), async (plan, ahead) => {
      const length = 50
      const node = await TestStage.start({ blockCount: 2 })
      const { control, data } = await node.open({ reserve: 64 })
      const expected = text(length + 1)
      const done = Promise.withResolvers<void>()
      const ids = [...PROMPT]
      let sent = [...PROMPT]
      let epoch = 0
      let next = 0
      const push = (tokens: readonly number[], sample: SampleMode): void => {
        const position = sent.length
        sent.push(...tokens)
        data.push(frame(position, tokens, epoch, sample))
      }
      const guess = (): void => {
        for (let window = 0; window < ahead; window++) {
          const { rows, isWrong } = plan[next++ % plan.length] as (typeof plan)[0]
          const right = expected.slice(sent.length, Math.min(sent.length + rows, length))
          if (right.length > 0) push(isWrong ? right.with(-1, (right.at(-1) as number) + 1) : right, 'all')
        }
      }
      control.send = (message) => {
        control.sent.push(message)
        if (message.type !== 'tokens' || message.epoch !== epoch) return true
        expect(message.position).toBe(ids.length - 1)
        ids.push(...message.tokens)
        if (ids.length > length) done.resolve()
        const token = ids.at(-1) as number
        const guessed = sent[ids.length - 1]
        if (guessed === token || ids.length > length) return true // more is under way
        if (guessed !== undefined) {
          misses += 1
          epoch += 1
          sent = ids.slice(0, -1)
        }
        push([token], 'last')
        guess()
        return true
      }
      data.push(frame(0, PROMPT, 0, 'last'))
      guess()
      await done.promise
      expect(ids.slice(0, length + 1)).toEqual(expected)
      expect(said(control, 'need')).toEqual([])
      expect(said(control, 'refused')).toEqual([])
      await node.server.stop()
    }),
    { seed: 8, numRuns: 200 }
  )
  expect(misses).toBeGreaterThan(500)
})
