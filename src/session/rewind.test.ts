// What a session sends when stages ask for rows again, repeat themselves or blame each other: hops in memory.
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { FakeControl, FakeData } from '../../test/streams.ts'
import type { Frame } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { ChainSession } from './chain-session.ts'

const HOPS = 3
const MAX_ROWS = 4

/** As epoch:position+rows, with a star where a token is drawn. */
function sent(): string[] {
  return data.frames.map(
    ({ epoch, position, tokens, sample }) =>
      `${epoch}:${position}+${tokens.length}${sample === 'last' ? '*' : ''}`
  )
}

let controls: FakeControl[]
let data: FakeData
let session: ChainSession

beforeEach(async () => {
  const chain = Array.from(
    { length: HOPS },
    (_, hop) => ({ peer: `peer${hop}`, start: hop, end: hop + 1 }) as unknown as ChainHop
  )
  controls = chain.map(() => new FakeControl())
  data = new FakeData()
  session = new ChainSession(chain, controls, 100)
  const opened = session.opened(new AbortController().signal)
  for (const control of controls) control.say({ type: 'opened', maxRows: MAX_ROWS, capacity: 100 })
  await opened
  session.sendTo(data)
})

function ids(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, index) => index + 1)
}

function begin(prompt: Int32Array, maxTokens = 10): { tokens: Promise<number[]> } {
  const collect = async (): Promise<number[]> => {
    const tokens: number[] = []
    for await (const token of session.generate(prompt, { maxTokens, endTokens: new Set() }))
      tokens.push(token)
    return tokens
  }
  const tokens = collect()
  tokens.catch(() => {})
  return { tokens }
}

function draw(epoch: number, position: number, token: number): void {
  controls[HOPS - 1]?.say({ type: 'tokens', epoch, position, tokens: [token] })
}

function need(hop: number, epoch: number, length: number): void {
  controls[hop]?.say({ type: 'need', epoch, length })
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
    await expect(tokens).rejects.toMatchObject({ code: 'LOST', hop: 1 })
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
    const { tokens } = begin(ids(4), 5)
    const answer = session.figures // no row was reported
    expect(answer.map(({ rows }) => rows)).toEqual([0, 0, 0])
    draw(0, 3, 50)
    controls[1]?.end(new Error('reset'))
    await expect(tokens).rejects.toThrow(
      'Hop 2 of 3 (blocks 1-2 at peer1): its connection ended: reset. The answer had 1'
    )
  })
})

describe('the hop that is named', () => {
  const lost = { type: 'refused', code: 'next', message: 'the next hop is gone' } as const

  test('is the one that has the reason, if it says it', async () => {
    const { tokens } = begin(ids(4))
    controls[0]?.say(lost)
    controls[0]?.end()
    controls[1]?.say({ type: 'refused', code: 'engine', message: 'the engine died' })
    await expect(tokens).rejects.toMatchObject({ code: 'REFUSED', hop: 1 })
  })

  test('is the farthest that was lost, if none of them speaks', async () => {
    const { tokens } = begin(ids(4))
    controls[0]?.say(lost)
    controls[1]?.say(lost)
    controls[0]?.end()
    controls[1]?.end()
    await expect(tokens).rejects.toMatchObject({ code: 'LOST', hop: 2 })
  })

  test('is the last one to open, when time is over', async () => {
    const chain = [{ peer: 'a' }, { peer: 'b' }] as unknown as ChainHop[]
    const [first, second] = [new FakeControl(), new FakeControl()]
    const slow = new ChainSession(chain, [first, second], 10)
    const giveUp = new AbortController()
    const opened = slow.opened(giveUp.signal)
    first.say({ type: 'opened', maxRows: MAX_ROWS, capacity: 10 })
    giveUp.abort()
    await expect(opened).rejects.toMatchObject({ code: 'TIMEOUT', hop: 1 })
  })
})
