// What a session asks of others when a hop is lost or lacks rows: hops in memory.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { RowCodec } from '../net/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { type ChainEvent, openSession, Relays, type Session, type SessionComponents } from './index.ts'
import { defaultSampler } from './sampler.ts'
import { all, FakeHost, type FakeStage, failure, NO_END, place } from './testing.ts'

const CHAIN = [place('peer0', 0, 3), place('peer1', 3, 6), place('peer2', 6, 8)]
const PROMPT = Int32Array.of(1, 2, 3, 4)
const SAMPLER = defaultSampler()
/** More than any test waits for. */
const PATIENCE = { timeout: 5_000, interval: 5 }

let host: FakeHost
let session: Session
let events: ChainEvent[]

beforeEach(() => {
  host = new FakeHost()
  events = []
})

afterEach(() => session.close())

async function open(others: readonly ChainHop[], more: Partial<SessionComponents> = {}): Promise<void> {
  const directory = { stages: [...CHAIN, ...others], refresh: async () => {} }
  session = await openSession(
    { host, directory, ...more },
    { chain: CHAIN, sampler: SAMPLER, reserve: 100, waitMs: 0, onEvent: (event) => events.push(event) }
  )
}

function answer(maxTokens: number, options: { readonly sampler?: typeof SAMPLER } = {}): Promise<number[]> {
  return all(session.generate(PROMPT, { maxTokens, endTokens: NO_END, waitMs: 0, ...options }))
}

function draw(tail: FakeStage, position: number, token: number, epoch = 0, sampler?: number): void {
  tail.say({ type: 'tokens', epoch, position, tokens: [token], sampler })
}

const refused = { type: 'refused', code: 'engine', message: 'the engine died' } as const
const reached = (peer: string): Promise<FakeStage> => vi.waitFor(() => host.stage(peer), PATIENCE)
const linked = (): Promise<ChainEvent> =>
  vi.waitFor(() => {
    expect(events.at(-1)?.type).toBe('repaired')
    return events.at(-1) as ChainEvent
  }, PATIENCE)

describe('whoever takes over', () => {
  test('is told where the chain stands, and the hop before whom to send to', async () => {
    await open([place('other', 3, 6)])
    const tokens = answer(3)
    draw(host.stage('peer2'), 3, 50)
    host.stage('peer1').say(refused)
    const newcomer = await reached('other')
    await linked()
    const [{ next, ticketIn, reserve, head } = {}] = newcomer.received('open')
    expect([next?.peer, reserve, head]).toEqual(['peer2', 100, false])
    expect(host.stage('peer2').received('rewire')).toEqual([
      { type: 'rewire', ticketIn: next?.ticket, drawFrom: 0 }
    ])
    const rewire = { peer: 'other', addresses: ['/to/other'], ticket: ticketIn }
    // The draw from the row at 3 is known, the one from the row at 4 is not.
    expect(host.stage('peer0').received('rewire')).toEqual([{ type: 'rewire', next: rewire, drawFrom: 4 }])
    draw(host.stage('peer2'), 4, 51)
    draw(host.stage('peer2'), 5, 52)
    expect(await tokens).toEqual([50, 51, 52])
  })

  test('draws as the answer that it comes into asks', async () => {
    await open([place('other', 6, 8)])
    const first = answer(1)
    draw(host.stage('peer2'), 3, 50)
    await first
    host.stage('peer2').say(refused)
    const sampler = defaultSampler({ temperature: 0.8, seed: 7 })
    const second = answer(1, { sampler })
    const tail = await reached('other')
    await linked()
    expect(tail.received('open')[0]?.sampler).toEqual({ ...sampler, version: 2 })
    draw(tail, 3, 51, 1) // the last row is computed again for its logits
    expect(await second).toEqual([51])
  })

  test('and dies, too, is replaced, but not without end', async () => {
    const others = Array.from({ length: 30 }, (_, index) => place(`other${index}`, 3, 6))
    await open(others)
    const error = failure(answer(3))
    host.stage('peer1').say(refused)
    for (let index = 0; index < 17; index++) {
      const newcomer = await reached(`other${index}`)
      await vi.waitFor(
        () => expect(events.filter(({ type }) => type === 'repaired')).toHaveLength(index + 1),
        PATIENCE
      )
      newcomer.say(refused)
    }
    expect(await error).toMatchObject({ code: 'REFUSED', hop: 1 })
  })
})

describe('rows that do not reach', () => {
  test('the first hop are sent again on another stream', async () => {
    await open([])
    void answer(3).catch(() => {})
    await vi.waitFor(() => expect(host.data).toHaveLength(2), PATIENCE)
    const [before, after] = host.data
    expect(after?.ticket).toEqual(host.stage('peer0').received('rewire')[0]?.ticketIn)
    expect(after?.ticket).not.toEqual(before?.ticket)
    await vi.waitFor(() => expect(after?.stream.frames[0]?.tokens).toEqual(PROMPT), PATIENCE)
    expect(before?.stream.hasEnded).toBe(true)
  })

  test('another hop go through us', async () => {
    await open([], { relays: new Relays() })
    host.stage('peer0').standing.length = host.stage('peer0').standing.computed = PROMPT.length
    void answer(3).catch(() => {})
    await vi.waitFor(() => expect(events).toContainEqual({ type: 'relayed', hop: CHAIN[1] }), PATIENCE)
    expect(host.data.map(({ peer }) => peer)).toEqual(['peer0', 'peer1'])
    const [rewire] = host.stage('peer0').received('rewire')
    expect([rewire?.next?.peer, rewire?.next?.addresses]).toEqual([host.peerId, host.addresses])
  })
})

test('a stage that is in an epoch that nobody has begun is given the rows again in one after that', async () => {
  await open([])
  const tokens = answer(1)
  const standing = { length: PROMPT.length - 1, computed: PROMPT.length - 1 }
  Object.assign(host.stage('peer1').standing, { ...standing, epoch: 1 })
  await vi.waitFor(() => {
    expect(host.data[0]?.stream.frames[1]).toMatchObject({ epoch: 2, position: 3, sample: 'last' })
  }, PATIENCE)
  draw(host.stage('peer2'), 3, 50, 2)
  expect(await tokens).toEqual([50])
  expect(events).toEqual([])
})

describe('another sampler', () => {
  const sampler = defaultSampler({ temperature: 0.8, seed: 7 })
  const resample = { type: 'resample', sampler: { ...sampler, version: 2 } }

  test('is not waited for where draws say which one they are of, and those of another are not taken', async () => {
    host.onControl = (_, stage) => {
      stage.sampler = 1
    }
    await open([])
    const tail = host.stage('peer2')
    const tokens = answer(2, { sampler })
    await vi.waitFor(() => expect(host.data[0]?.stream.frames).toHaveLength(1), PATIENCE)
    expect(tail.received('resample')).toEqual([resample])
    draw(tail, 3, 50, 0, 1)
    // The last row once more.
    await vi.waitFor(() => {
      expect(host.data[0]?.stream.frames[1]).toMatchObject({ epoch: 1, position: 3, sample: 'last' })
    }, PATIENCE)
    draw(tail, 3, 51, 1, 2)
    draw(tail, 4, 52, 1, 2)
    expect(await tokens).toEqual([51, 52])
  })

  test.each(['before', 'after'])(
    'is said again by versions to a tail whose connection breaks right %s',
    async (when) => {
      host.onControl = (_, stage) => {
        stage.sampler = 1
      }
      await open([])
      const tail = host.stage('peer2')
      if (when === 'before') tail.end(new Error('reset'))
      const tokens = answer(1, { sampler })
      if (when === 'after') tail.end(new Error('reset'))
      await vi.waitFor(() => expect(host.stage('peer2')).not.toBe(tail), PATIENCE)
      await vi.waitFor(() => expect(host.stage('peer2').received('resample')).toEqual([resample]), PATIENCE)
      draw(host.stage('peer2'), 3, 51, 0, 2)
      expect(await tokens).toEqual([51])
    }
  )

  test('is waited for before rows are sent that it is for, where the tail knows no versions', async () => {
    await open([])
    const tail = host.stage('peer2')
    tail.ignored.add('ping')
    const tokens = answer(1, { sampler })
    await vi.waitFor(() => expect(tail.received('ping').length).toBeGreaterThan(1), PATIENCE)
    expect(tail.received('resample')).toEqual([resample])
    expect(host.data[0]?.stream.frames).toEqual([])
    tail.say(tail.pong(tail.received('ping').at(-1)?.nonce ?? 0))
    await vi.waitFor(() => expect(host.data[0]?.stream.frames).toHaveLength(1), PATIENCE)
    draw(tail, 3, 51)
    expect(await tokens).toEqual([51])
  })

  test.each(['before', 'after'])('is said to a tail whose connection breaks right %s', async (when) => {
    await open([])
    const tail = host.stage('peer2')
    tail.ignored.add('ping')
    if (when === 'before') tail.end(new Error('reset'))
    const tokens = answer(1, { sampler })
    if (when === 'after') tail.end(new Error('reset'))
    await vi.waitFor(() => expect(host.data[0]?.stream.frames).toHaveLength(1), PATIENCE)
    expect(host.stage('peer2')).not.toBe(tail)
    expect(host.stage('peer2').received('resample')).toEqual([resample])
    draw(host.stage('peer2'), 3, 51)
    expect(await tokens).toEqual([51])
  })
})

describe('a codec', () => {
  const speaking = CHAIN.map((hop) => ({ ...hop, stage: { ...hop.stage, codecs: ['f32', 'q8'] } }))
  const openIn = async (codec: RowCodec, chain: readonly ChainHop[], directory: readonly ChainHop[]) => {
    session = await openSession(
      { host, directory: { stages: directory, refresh: async () => {} } },
      { chain, codec, sampler: SAMPLER, reserve: 100, waitMs: 0, onEvent: (event) => events.push(event) }
    )
  }
  const codecsOf = (): unknown[] =>
    host.controls.map(({ peer, stage }) => [peer, stage.received('open')[0]?.profile.codec])

  test('is told to all hops, and to who takes over', async () => {
    const old = place('old', 3, 6)
    const other = place('other', 3, 6)
    await openIn('q8', speaking, [...speaking, old, { ...other, stage: { ...other.stage, codecs: ['q8'] } }])
    const tokens = answer(1)
    host.stage('peer1').say(refused)
    await linked()
    draw(host.stage('peer2'), 3, 50)
    expect(await tokens).toEqual([50])
    expect(codecsOf()).toEqual(['peer0', 'peer1', 'peer2', 'other'].map((peer) => [peer, 'q8']))
  })

  test('that can’t hold the rows is given up for f32, at all hops, and the answer goes on', async () => {
    await openIn('q8', speaking, speaking)
    const tokens = answer(2)
    draw(host.stage('peer2'), 3, 50)
    const before = host.stage('peer1')
    before.say({ type: 'refused', code: 'codec', message: 'too large' })
    await linked()
    expect(codecsOf()).toEqual([
      ...speaking.map(({ peer }) => [peer, 'q8']),
      ...speaking.map(({ peer }) => [peer, 'f32'])
    ])
    expect(host.stage('peer1')).not.toBe(before)
    const { stream } = host.data.at(-1) as (typeof host.data)[number]
    await vi.waitFor(() => expect(stream.frames[0]?.tokens).toEqual(Int32Array.of(...PROMPT, 50)), PATIENCE)
    draw(host.stage('peer2'), 4, 51)
    expect(await tokens).toEqual([50, 51])
    expect(events.map(({ type }) => type)).toEqual(['repaired']) // nobody is lost
  })

  test('that a hop does not speak is an error', async () => {
    await open([])
    const error = await failure(
      openSession({ host }, { chain: CHAIN, codec: 'q8', sampler: SAMPLER, reserve: 8 })
    )
    expect(error).toMatchObject({ code: 'INPUT', hop: 0, message: expect.stringContaining('q8') })
  })
})
