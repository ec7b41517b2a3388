// What a session sends when stages ask for rows again, repeat themselves or blame each other: hops in memory.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { FakeData } from '../../test/streams.ts'
import type { Frame } from '../net/index.ts'
import { openSession, type Session } from './index.ts'
import { defaultSampler } from './sampler.ts'
import { all, FakeHost, NO_END, place } from './testing.ts'

const MAX_ROWS = 4
const CHAIN = [place('peer0', 0, 3), place('peer1', 3, 6), place('peer2', 6, 8)]
/** Nobody takes over here: whoever is lost is missed at once. */
const AT_ONCE = { waitMs: 0 }

/** As epoch:position+rows, with a star where a token is drawn. */
function sent(): string[] {
  return data.frames.map(
    ({ epoch, position, tokens, sample }) =>
      `${epoch}:${position}+${tokens.length}${sample === 'last' ? '*' : ''}`
  )
}

let host: FakeHost
let data: FakeData
let session: Session

beforeEach(async () => {
  host = new FakeHost()
  host.maxRows = MAX_ROWS
  session = await openSession({ host }, { chain: CHAIN, sampler: defaultSampler(), reserve: 100, ...AT_ONCE })
  data = host.data[0]?.stream as FakeData
})

afterEach(() => session.close())

function ids(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, index) => index + 1)
}

function begin(prompt: Int32Array, maxTokens = 10): { tokens: Promise<number[]> } {
  const tokens = all(session.generate(prompt, { maxTokens, endTokens: NO_END, ...AT_ONCE }))
  tokens.catch(() => {})
  return { tokens }
}

function draw(epoch: number, position: number, token: number): void {
  host.stage('peer2').say({ type: 'tokens', epoch, position, tokens: [token] })
}

function need(hop: number, epoch: number, length: number): void {
  host.stage(`peer${hop}`).say({ type: 'need', epoch, length })
}

const settled = (frames: number): Promise<void> =>
  vi.waitFor(() => expect(data.frames).toHaveLength(frames), { timeout: 5_000, interval: 2 })

describe('rows that are needed again', () => {
  test('are sent in a new epoch, from there on', async () => {
    begin(ids(10))
    await settled(3)
    need(1, 0, 6)
    await settled(4)
    expect(sent()).toEqual(['0:0+4', '0:4+4', '0:8+2*', '1:6+4*'])
    expect([...(data.frames[3] as Frame).tokens]).toEqual([7, 8, 9, 10])
  })

  test('while a prompt is still on its way take the rest of it along', async () => {
    data.room = 2
    begin(ids(14))
    await settled(2)
    need(1, 0, 3)
    expect(data.frames).toHaveLength(2)
    data.drain()
    await settled(5)
    expect(sent().slice(2)).toEqual(['1:3+4', '1:7+4', '1:11+3*'])
  })

  test('are asked for once: what others ask in the older epoch is old', async () => {
    begin(ids(4))
    need(1, 0, 2)
    need(2, 0, 0)
    await settled(2)
    expect(sent()).toEqual(['0:0+4*', '1:2+2*'])
  })

  test('in the middle of an answer lead to the same token', async () => {
    const { tokens } = begin(ids(4), 3)
    draw(0, 3, 50)
    await settled(2)
    need(2, 0, 4)
    draw(0, 4, 51) // from before the rewind
    await settled(3)
    draw(1, 4, 51)
    await settled(4)
    draw(1, 5, 52)
    expect(await tokens).toEqual([50, 51, 52])
    expect(sent()).toEqual(['0:0+4*', '0:4+1*', '1:4+1*', '1:5+1*'])
  })

  test('without end are a failure', async () => {
    const { tokens } = begin(ids(4))
    for (let epoch = 0; epoch < 16; epoch++) {
      await settled(epoch + 1)
      need(1, epoch, 0)
    }
    await settled(17)
    need(1, 16, 0)
    await expect(tokens).rejects.toMatchObject({ code: 'LOST', hop: undefined })
  })
})

describe('tokens', () => {
  test('after the last one, or at another position, are nobody’s', async () => {
    const { tokens } = begin(ids(4), 2)
    draw(0, 2, 49)
    draw(0, 3, 50)
    draw(0, 3, 50)
    draw(0, 9, 51)
    await settled(2)
    draw(0, 4, 52)
    draw(0, 4, 52)
    draw(0, 5, 53)
    expect(await tokens).toEqual([50, 52])
    expect(sent()).toEqual(['0:0+4*', '0:4+1*'])
  })

  test('that came before a failure are given first', async () => {
    const answer = session.generate(ids(4), { maxTokens: 5, endTokens: NO_END, ...AT_ONCE })
    const first = answer.next()
    expect(session.figures.map(({ rows }) => rows)).toEqual([0, 0, 0]) // no row was reported
    draw(0, 3, 50)
    host.unreachable.add('peer1')
    host.stage('peer1').end(new Error('reset'))
    expect((await first).value).toBe(50)
    await expect(answer.next()).rejects.toThrow(
      'Hop 2 of 3 (blocks 3-6 at peer1): its connection ended: reset. The answer had 1 tokens.'
    )
  })
})

describe('the hop that is named', () => {
  /** The first hop has lost its way to the second. */
  function unlink(): void {
    const ticket = host.stage('peer0').received('open')[0]?.next?.ticket as Uint8Array
    host.stage('peer0').say({ type: 'unlinked', ticket, message: 'reset' })
  }

  test('is the one that has the reason, if it says it soon', async () => {
    const { tokens } = begin(ids(4))
    unlink()
    host.stage('peer1').say({ type: 'refused', code: 'engine', message: 'the engine died' })
    await expect(tokens).rejects.toMatchObject({ code: 'REFUSED', hop: 1 })
  })

  test('is the one that is not reached any more, if it knows of nothing', async () => {
    const { tokens } = begin(ids(4))
    unlink()
    await expect(tokens).rejects.toThrow(
      'Hop 2 of 3 (blocks 3-6 at peer1): the hop before cannot reach it: reset'
    )
  })

  test('is the one that does not open, when time is over', async () => {
    const slow = new FakeHost()
    slow.onControl = (peer, stage) => {
      if (peer === 'peer1') stage.ignored.add('open')
    }
    const timeUp = new AbortController()
    vi.spyOn(AbortSignal, 'timeout').mockReturnValue(timeUp.signal)
    const opened = openSession(
      { host: slow },
      { chain: CHAIN, sampler: defaultSampler(), reserve: 10, ...AT_ONCE }
    )
    await new Promise(setImmediate) // the others have opened by then
    timeUp.abort()
    vi.restoreAllMocks()
    await expect(opened).rejects.toMatchObject({ code: 'TIMEOUT', hop: 1 })
  })
})
