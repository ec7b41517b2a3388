import { beforeEach, describe, expect, test } from 'vitest'
import type { StageInfo } from '../net/index.ts'
import type { Span } from '../swarm/index.ts'
import { testModel } from '../swarm/placement-testing.ts'
import { MemorySwarm } from '../swarm/testing.ts'
import { stageOf } from '../swarm/testing-members.ts'
import { Contributor } from './contributor.ts'
import type { Participant } from './participant.ts'
import type { ShelvedModel } from './shelf.ts'
import { participantOf } from './testing.ts'

const MIB = 1024 * 1024
const BLOCKS = 8

let memory: MemorySwarm
/** What the engine of the contributor under test was told. */
let loads: {
  called: string
  span: Pick<Span, 'start' | 'end'>
  signal: AbortSignal
  done: (error?: Error) => void
}[]
let reports: string[]

beforeEach(() => {
  memory = new MemorySwarm()
  loads = []
  reports = []
})

function shelved(name: string): ShelvedModel {
  return { called: `/models/${name}.gguf`, width: 4, hostable: testModel(name, BLOCKS) }
}

interface Rig {
  readonly participant: Participant
  readonly contributor: Contributor
  readonly infos: StageInfo[]
  stop(): Promise<void>
}

async function start(
  peer: string,
  names: readonly string[],
  blocks: number,
  others: string[] = []
): Promise<Rig> {
  const participant = participantOf(memory, peer, others)
  await participant.start()
  const shelf = new Map(names.map((name) => [testModel(name, BLOCKS).model, shelved(name)]))
  const infos: StageInfo[] = []
  const { clock, random } = memory
  const hosting = {
    host(called: string, span: Pick<Span, 'start' | 'end'> | undefined, signal?: AbortSignal) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const { start, end } = span as Span
      infos.length = 0
      signal?.addEventListener('abort', () => reject(signal.reason))
      const done = (error?: Error): void => {
        const model = [...shelf].find(([, one]) => one.called === called)?.[0]
        if (error === undefined) infos.push(stageOf(start, end, model))
        if (error === undefined) resolve()
        else reject(error)
      }
      loads.push({ called, span: { start, end }, signal: signal as AbortSignal, done })
      return promise
    }
  }
  const contributor = new Contributor(
    { participant, hosting, server: { infos }, shelf, clock, random },
    {
      ...{ self: peer, memoryBytes: blocks * MIB, context: 16, sessions: 2, kvType: 'f16' },
      report: (message, level) => reports.push(`${level}: ${message}`)
    }
  )
  await contributor.start()
  const stop = async (): Promise<void> => {
    await contributor.stop()
    const stopped = participant.stop()
    await clock.advance(5_000)
    await stopped
  }
  return { participant, contributor, infos, stop }
}

/** What others know that it hosts. */
function seen({ participant }: Rig, peer: string): string[] {
  const { stages = [] } = participant.swarm.directory.announcementOf(peer) ?? {}
  return stages.map(({ start, end, state }) => `${start}-${end}${state === undefined ? '' : ` ${state}`}`)
}

describe('hosting', () => {
  test('others hear that it loads, then that it is ready', async () => {
    const observer = await start('observer', ['m'], 0)
    const one = await start('one', ['m'], BLOCKS, ['observer'])
    expect(one.contributor.status).toMatch(/^looking for other nodes/)
    await memory.clock.advance(10_000)
    expect(loads.map(({ called, span }) => [called, span])).toEqual([
      ['/models/m.gguf', { start: 0, end: 8 }]
    ])
    expect(seen(observer, 'one')).toEqual(['0-8 loading'])
    expect(one.contributor.status).toBe('loading blocks 0-8 of m')
    loads[0]?.done()
    await memory.clock.advance(5_000)
    expect(seen(observer, 'one')).toEqual(['0-8'])
    expect(reports).toEqual(['info: hosts blocks 0-8 of 8, m'])
    await Promise.all([observer.stop(), one.stop()])
  })

  test('what one has no room for, another takes', async () => {
    const one = await start('one', ['m'], 5)
    await memory.clock.advance(10_000)
    loads[0]?.done()
    const other = await start('other', ['m'], 3, ['one'])
    await memory.clock.advance(15_000)
    expect(loads.map(({ span }) => span)).toEqual([
      { start: 0, end: 5 },
      { start: 5, end: 8 }
    ])
    await Promise.all([one.stop(), other.stop()])
  })

  test('without memory nothing is loaded, and the status says why', async () => {
    const one = await start('one', ['m'], 0)
    await memory.clock.advance(60_000)
    expect(loads).toEqual([])
    expect(one.contributor.status).toMatch(/this machine could, with 9 MB more/)
    await one.stop()
  })

  test('a failure is told with its reason, nothing is announced, and it is tried again, later each time', async () => {
    const observer = await start('observer', ['m'], 0)
    const one = await start('one', ['m'], BLOCKS, ['observer'])
    await memory.clock.advance(10_000)
    loads[0]?.done(new Error('no space left on device'))
    await memory.clock.advance(6_000)
    expect(reports).toEqual([
      'warning: cannot host blocks 0-8 of 8, m now, tries again later: no space left on device'
    ])
    expect(seen(observer, 'one')).toEqual([])
    await memory.clock.advance(90_000)
    expect(loads).toHaveLength(2)
    loads[1]?.done(new Error('no space left on device'))
    await memory.clock.advance(50_000)
    expect(loads).toHaveLength(2)
    await memory.clock.advance(90_000)
    expect(loads).toHaveLength(3)
    await Promise.all([observer.stop(), one.stop()])
  })
})

describe('stop', () => {
  test('while it loads: the load is given up, and nothing is announced or reported any more', async () => {
    const observer = await start('observer', ['m'], 0)
    const one = await start('one', ['m'], BLOCKS, ['observer'])
    await memory.clock.advance(10_000)
    await one.contributor.stop()
    one.participant.announce({ stages: [] })
    expect(loads[0]?.signal.aborted).toBe(true)
    await memory.clock.advance(60_000)
    expect(seen(observer, 'one')).toEqual([])
    expect(observer.participant.swarm.directory.offersOf(testModel('m', BLOCKS).model).has('one')).toBe(false)
    expect([reports, loads.length, one.contributor.status]).toEqual([[], 1, 'leaving'])
    await Promise.all([observer.stop(), one.stop()])
  })

  test('before it has decided: it never does', async () => {
    const one = await start('one', ['m'], BLOCKS)
    await one.stop()
    await memory.clock.advance(60_000)
    expect(loads).toEqual([])
  })
})

test('what a plan assigns is hosted, if it can be', async () => {
  const one = await start('one', ['m'], 4)
  const { model } = testModel('m', BLOCKS)
  expect(await one.contributor.assign({ model, start: 4, end: 8 })).toMatchObject({ accepted: false })
  await memory.clock.advance(10_000)
  loads[0]?.done()
  await memory.clock.advance(1_000)
  expect(await one.contributor.assign({ model, start: 0, end: 8 })).toEqual({
    accepted: false,
    message: 'it is too much for what this node may use'
  })
  expect(await one.contributor.assign({ model: 'f'.repeat(64), start: 0, end: 1 })).toMatchObject({
    accepted: false
  })
  expect(await one.contributor.assign({ model, start: 4, end: 8 })).toEqual({ accepted: true, message: '' })
  expect(loads.at(-1)?.span).toEqual({ start: 4, end: 8 })
  await one.stop()
})

test('of many models a few are followed, others as time goes by, and what it hosts for as long', async () => {
  const names = Array.from({ length: 12 }, (_, index) => `m${index}`)
  const one = await start('one', names, BLOCKS)
  await memory.clock.advance(10_000)
  loads[0]?.done()
  const held = [...one.infos].map(({ model }) => model)
  await memory.clock.advance(10)
  const ever = new Set<string>()
  for (let minute = 0; minute < 60; minute += 5) {
    const { followed } = one.participant.swarm
    expect(followed.length).toBeLessThanOrEqual(4)
    for (const model of followed) ever.add(model)
    await memory.clock.advance(5 * 60_000)
  }
  expect(one.participant.swarm.followed).toEqual(expect.arrayContaining(one.infos.map(({ model }) => model)))
  expect(held).toHaveLength(1)
  expect(ever.size).toBeGreaterThan(6)
  await one.stop()
})
