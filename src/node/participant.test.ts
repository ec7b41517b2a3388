import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { StageInfo } from '../net/index.ts'
import { type Member, Members, MODEL, stageOf } from '../swarm/testing-members.ts'
import type { Participant, WayRequest } from './participant.ts'
import { freeLoad, participantOf } from './testing.ts'

const FIRST = stageOf(0, 4)
const LAST = stageOf(4, 8)

let members: Members
let started: Participant[]
let interruption: AbortController
let missing: string[]

beforeEach(() => {
  members = new Members()
  started = []
  interruption = new AbortController()
  missing = []
})

afterEach(async () => {
  for (const participant of started) await stopped(participant)
})

async function stopped(participant: Participant): Promise<void> {
  const stop = participant.stop()
  await members.advance(10_000)
  await stop
}

function host(stage = FIRST): Promise<Member> {
  return members.join([stage], { load: () => [freeLoad(stage)] })
}

async function consumer(others: readonly Member[], own: readonly StageInfo[] = []): Promise<Participant> {
  const participant = participantOf(
    members.memory,
    'consumer',
    others.map(({ peer }) => peer),
    { load: () => own.map(freeLoad) }
  )
  await participant.start()
  started.push(participant)
  return participant
}

function route(participant: Participant, rest: Partial<WayRequest> = {}): Promise<string[]> {
  const { signal } = interruption
  const request = { model: MODEL, promptTokens: 8, answerTokens: 8, waitMs: 60_000, signal, ...rest }
  const way = participant.route({ ...request, onMissing: ({ message }) => missing.push(message) })
  const peers = way.then(({ chain }) => chain.map(({ peer }) => peer))
  peers.catch(() => {}) // it is looked at later
  return peers
}

describe("a node's own stages", () => {
  test('are a way, alone or with others, at no distance', async () => {
    const alone = await consumer([], [stageOf(0, 8)])
    alone.announce({ stages: [stageOf(0, 8)] })
    const way = route(alone)
    await members.advance(1_000)
    expect(await way).toEqual(['consumer'])
    expect(alone.rttBetween('consumer', 'consumer')).toBe(0)
    expect(alone.isCovered(MODEL)).toBe(true)
    expect(alone.models).toMatchObject([{ model: MODEL, nodes: 1, covered: true, missing: [] }])
    await stopped(started.pop() as Participant)
    const last = await host(LAST)
    const mixed = await consumer([last], [FIRST])
    mixed.announce({ stages: [FIRST] })
    await members.advance(3_000)
    const both = route(mixed)
    await members.advance(2_000)
    expect(await both).toEqual(['consumer', last.peer])
  })

  test('are none while they load, nor once it has said that it leaves', async () => {
    const whole = await host(stageOf(0, 8))
    const participant = await consumer([whole], [stageOf(0, 8)])
    participant.announce({ stages: [{ ...stageOf(0, 8), state: 'loading' }] })
    await members.advance(3_000)
    const loading = route(participant)
    await members.advance(2_000)
    expect(await loading).toEqual([whole.peer])
    expect(participant.swarm.stages.map(({ peer }) => peer)).toEqual([whole.peer])
    participant.announce({ stages: [stageOf(0, 8)] })
    await members.advance(2_000)
    expect(participant.swarm.stages.map(({ peer }) => peer)).toEqual([whole.peer, 'consumer'])
    participant.announce({ stages: [] })
    const leaving = route(participant)
    await members.advance(2_000)
    expect(await leaving).toEqual([whole.peer])
  })

  test('are not withdrawn when they were lost here', async () => {
    const other = await host(FIRST)
    const participant = await consumer([other], [LAST])
    participant.announce({ stages: [LAST] })
    await members.advance(3_000)
    participant.lost('consumer')
    await members.advance(20_000)
    expect(other.swarm.directory.announcementOf('consumer')?.stages).toHaveLength(1)
    expect(participant.swarm.stages).toHaveLength(2)
  })
})

test('who lost many at once does not come back to all of them', async () => {
  const others = await Promise.all(Array.from({ length: 20 }, () => host()))
  const participant = await consumer(others)
  participant.announce({ stages: [LAST] })
  await members.advance(3_000)
  const { memory } = members
  const node = memory.nodes.get('consumer')
  const asked = new Set<string>()
  for (const { node: other, swarm } of others) {
    other.answer = (from, request) => {
      if (from === 'consumer' && request.type === 'probe') asked.add(other.peerId)
      return swarm.answer(from, request)
    }
    if (node !== undefined) memory.disconnect(node, other.peerId)
  }
  await members.advance(2_500)
  expect(asked.size).toBeGreaterThanOrEqual(8)
  expect(asked.size).toBeLessThan(12)
})

describe('a way', () => {
  test('is there as soon as somebody has told who hosts what', async () => {
    const [a, b] = [await host(FIRST), await host(LAST)]
    await members.advance(3_000)
    const way = route(await consumer([a, b]))
    await members.advance(2_000)
    expect(await way).toEqual([a.peer, b.peer])
    expect(missing).toEqual([])
  })

  test('that is not there is waited for: it is said what is missing, and that it is wanted, until then', async () => {
    const a = await host(FIRST)
    const participant = await consumer([a])
    const way = route(participant)
    await members.advance(10_000)
    expect(new Set(missing)).toEqual(new Set([expect.stringContaining('block 4 of 8')]))
    expect(a.swarm.directory.waitingFor(MODEL)).toBe(1)
    const b = await host(LAST)
    await members.advance(10_000)
    expect(await way).toEqual([a.peer, b.peer])
    await members.advance(5_000)
    expect(a.swarm.directory.waitingFor(MODEL)).toBe(0)
  })

  test('is wanted for as long as one of several waits', async () => {
    const a = await host(FIRST)
    const participant = await consumer([a])
    const impatient = route(participant, { waitMs: 8_000 })
    const patient = route(participant, { waitMs: 40_000 })
    await members.advance(20_000)
    await expect(impatient).rejects.toMatchObject({ code: 'NO_CHAIN' })
    expect(a.swarm.directory.waitingFor(MODEL)).toBe(1)
    await members.advance(30_000)
    await expect(patient).rejects.toMatchObject({ code: 'NO_CHAIN' })
    expect(a.swarm.directory.waitingFor(MODEL)).toBe(0)
  })

  test('is not waited for longer than asked', async () => {
    const participant = await consumer([await host(FIRST)])
    await members.advance(3_000)
    let failedAt = 0
    const { clock } = members.memory
    const begun = clock.now()
    const way = route(participant, { waitMs: 2_000 }).catch(() => {
      failedAt = clock.now() - begun
    })
    await members.advance(10_000)
    await way
    expect(failedAt).toBeLessThan(2_500) // it refreshes in between
  })

  test('is not waited for where nobody is', async () => {
    const participant = await consumer([])
    await members.advance(1)
    await expect(route(participant)).rejects.toMatchObject({ code: 'NO_PEERS' })
  })

  test('is given up at once when the signal fires, and nothing stays behind', async () => {
    const a = await host(FIRST)
    const participant = await consumer([a])
    const way = route(participant)
    await members.advance(10_000)
    interruption.abort(new Error('enough'))
    await members.advance(1)
    await expect(way).rejects.toThrow('enough')
    await members.advance(5_000)
    expect(a.swarm.directory.waitingFor(MODEL)).toBe(0)
    await expect(route(participant)).rejects.toThrow('enough')
  })
})

test('a model that somebody speaks of has its gaps in the status', async () => {
  const participant = await consumer([await host(stageOf(2, 4))])
  participant.swarm.follow(MODEL)
  await members.advance(5_000)
  expect(participant.models).toMatchObject([
    {
      model: MODEL,
      blockCount: 8,
      covered: false,
      nodes: 1,
      missing: [
        [0, 2],
        [4, 8]
      ]
    }
  ])
  expect(participant.isCovered(MODEL)).toBe(false)
})
