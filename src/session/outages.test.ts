// Nobody to take over at first, engines that die in living nodes, nodes that leave, stages that are full.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TestSwarm, wholeAnswer, wholeModel } from '../../test/swarm.ts'
import type { LlamaEngine } from '../engine/index.ts'
import type { Node } from '../node/index.ts'
import type { ChainEvent } from './index.ts'
import { Talk } from './swarm-testing.ts'
import { FISH, failure } from './testing.ts'

const SPANS = ['0-3', '3-6', '6-8']
const TOKENS = 40

let whole: LlamaEngine
let swarm: TestSwarm
let prompt: Int32Array
let expected: number[]
let talk: Talk

beforeAll(async () => {
  whole = wholeModel()
  ;[swarm] = await Promise.all([TestSwarm.start(SPANS), whole.start()])
  prompt = await whole.tokenize(FISH)
  expected = await wholeAnswer(whole, prompt, TOKENS)
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), whole?.stop()])
})

beforeEach(() => swarm.shape(SPANS))

afterEach(async () => {
  await talk.session.close()
  await swarm.allFree()
})

const node = (hop: number): Node => swarm.at(talk.chain[hop])

/** Its engine's process; resolves when there is another. */
async function kill({ stage }: Node): Promise<void> {
  const { engine } = stage as NonNullable<Node['stage']>
  const back = Promise.withResolvers<void>()
  const stop = engine.onStateChange((state) => {
    if (state === 'restarted') back.resolve()
  })
  process.kill(engine.description.process, 'SIGKILL')
  await back.promise
  stop()
}

describe('where nobody can take over', () => {
  test.each([0, 1, 2])('of hop %i, it is said, and whoever comes later does', async (hop) => {
    const waiting = Promise.withResolvers<ChainEvent>()
    const onEvent = (event: ChainEvent): void => {
      if (event.type === 'waiting') waiting.resolve(event)
    }
    talk = await Talk.open(swarm, { onEvent })
    const answer = await talk.answer(prompt, TOKENS, async () => {
      await swarm.lose(node(hop))
      expect(await waiting.promise).toMatchObject({ reason: expect.stringContaining(SPANS[hop] as string) })
      await swarm.shape(SPANS)
    })
    expect(answer).toEqual(expected)
    expect(talk.count('repaired')).toBe(1)
  })

  test('in time, the error names the hop and how far the answer got; later the session goes on', async () => {
    talk = await Talk.open(swarm)
    const lost = node(1).host.peerId
    const trouble = (): Promise<void> => swarm.lose(node(1))
    const error = await failure(talk.answer(prompt, TOKENS, trouble, { waitMs: 400 }))
    expect(error.hop).toBe(1)
    expect(error.message).toMatch(
      new RegExp(`^Hop 2 of 3 \\(blocks 3-6 at ${lost}\\): .*\\. The answer had \\d+ tokens\\.$`)
    )
    await swarm.shape(SPANS)
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
  })
})

describe('an engine that dies in a living node', () => {
  test.each([0, 1, 2])('of hop %i, is waited for where it is the only one', async (hop) => {
    talk = await Talk.open(swarm, { directory: undefined })
    const before = talk.chain
    expect(await talk.answer(prompt, TOKENS, () => kill(node(hop)))).toEqual(expected)
    expect(talk.chain).toEqual(before)
    expect(talk.events.find(({ type }) => type === 'lost')).toMatchObject({
      hop: before[hop],
      reason: expect.stringContaining('engine')
    })
  })

  test('is not waited for where there is another', async () => {
    await swarm.shape([...SPANS, '3-6'])
    talk = await Talk.open(swarm)
    const before = talk.chain
    expect(await talk.answer(prompt, TOKENS, () => kill(node(1)))).toEqual(expected)
    expect(talk.chain.map(({ peer }, hop) => peer === before[hop]?.peer)).toEqual([true, false, true])
    expect(talk.count('waiting')).toBe(0)
    await swarm.lose(swarm.at(before[1]))
  })
})

describe('a node that leaves', () => {
  test.each([0, 1, 2])('at hop %i, is moved away from in the middle of an answer', async (hop) => {
    await swarm.shape([...SPANS, ...SPANS])
    talk = await Talk.open(swarm)
    const leaver = node(hop)
    expect(await talk.answer(prompt, TOKENS, () => leaver.finish())).toEqual(expected)
    expect(talk.chain.map(({ peer }) => peer)).not.toContain(leaver.host.peerId)
    expect([talk.count('leaving'), talk.count('lost'), talk.count('repaired')]).toEqual([1, 0, 1])
    const length = prompt.length + TOKENS - 1
    expect(await talk.rows()).toEqual([length, length, length])
    await swarm.lose(leaver)
  })

  test('serves until the end of the answer where nobody can take over', async () => {
    talk = await Talk.open(swarm)
    const leaver = node(1)
    expect(await talk.answer(prompt, TOKENS, () => leaver.finish())).toEqual(expected)
    await swarm.lose(leaver)
    await swarm.shape(SPANS)
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
  })

  test('is not waited for between answers', async () => {
    await swarm.shape([...SPANS, '3-6'])
    talk = await Talk.open(swarm)
    const leaver = node(1)
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
    await leaver.finish()
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
    await swarm.lose(leaver)
  })
})

describe('room', () => {
  test('for an answer that is longer than its first stretch is asked for on the way', async () => {
    talk = await Talk.open(swarm, { reserve: prompt.length + 3 })
    const answer = await talk.answer(prompt, 600)
    expect(answer.slice(0, TOKENS)).toEqual(expected)
    expect(answer).toHaveLength(600)
    expect(talk.events).toEqual([])
  })

  test('that a stage does not have is found at others', async () => {
    const chain = await swarm.chain()
    const reserve = prompt.length + 8
    const other = await Talk.open(swarm, { chain, reserve: 1024 - reserve })
    await swarm.shape([...SPANS, '3-6', '0-3', '6-8'])
    talk = await Talk.open(swarm, { chain, reserve })
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
    expect(talk.events.find(({ type }) => type === 'lost')).toMatchObject({
      reason: expect.stringContaining('are free (full)')
    })
    const first = chain.map(({ peer }) => peer)
    expect(talk.chain.some(({ peer }) => first.includes(peer))).toBe(false)
    await other.session.close()
  })
})
