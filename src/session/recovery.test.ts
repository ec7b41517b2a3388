// Answers that go on while nodes of their chain are lost: what is said is what one model says, token for token.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TestSwarm, wholeAnswer, wholeModel } from '../../test/swarm.ts'
import type { LlamaEngine } from '../engine/index.ts'
import type { Node } from '../node/index.ts'
import type { NamedNodes } from '../swarm/index.ts'
import { type ChainEvent, openSession, type Session } from './index.ts'
import { defaultSampler } from './sampler.ts'
import { all, FISH, NO_END, SUN } from './testing.ts'

const SPANS = ['0-3', '3-6', '6-8', '0-3', '3-6', '6-8']
const TOKENS = 40

let whole: LlamaEngine
let swarm: TestSwarm
let directory: NamedNodes
let session: Session
let events: ChainEvent[]

beforeAll(async () => {
  whole = wholeModel()
  ;[swarm] = await Promise.all([TestSwarm.start(SPANS), whole.start()])
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), whole?.stop()])
})

beforeEach(() => {
  events = []
})

afterEach(async () => {
  await session.close()
  await swarm.allFree()
})

/** Two nodes for each span. */
async function doubled(): Promise<void> {
  await swarm.shape(SPANS)
  directory = await swarm.directory()
}

async function open(sampler = defaultSampler(), nodes?: readonly Node[]): Promise<void> {
  const { host, relays } = swarm.consumer
  session = await openSession(
    { host, relays, directory },
    {
      ...{ chain: await swarm.chain(nodes), sampler, reserve: 256 },
      onEvent: (event) => events.push(event)
    }
  )
}

/** The answer to `prompt`, during which `trouble` comes after five tokens. */
async function answerDuring(prompt: Int32Array, trouble: () => Promise<unknown>): Promise<number[]> {
  const answer = session.generate(prompt, { maxTokens: TOKENS, endTokens: NO_END })
  const drawn: number[] = []
  for (let count = 0; count < 5; count++) drawn.push((await answer.next()).value as number)
  const troubled = trouble()
  drawn.push(...(await all(answer)))
  await troubled
  return drawn
}

function nodes(...hops: number[]): Node[] {
  return hops.map((hop) => swarm.at(session.chain[hop]))
}

const rows = (): number[] => session.figures.map((figures) => figures.rows)
const seen = (type: ChainEvent['type']): number => events.filter((event) => event.type === type).length

describe('an answer goes on as if nothing had happened', () => {
  beforeEach(doubled)

  test.each([
    ['the first hop', [0]],
    ['the one in the middle', [1]],
    ['the tail', [2]],
    ['two neighbours at once', [0, 1]],
    ['the last two at once', [1, 2]],
    ['the ends at once', [0, 2]],
    ['all of them at once', [0, 1, 2]]
  ])('when it loses %s', async (_, hops) => {
    const prompt = await whole.tokenize(FISH)
    await open()
    const before = session.chain.map(({ peer }) => peer)
    const answer = await answerDuring(prompt, () => swarm.lose(...nodes(...hops)))
    expect(answer).toEqual(await wholeAnswer(whole, prompt, TOKENS))
    expect(seen('lost')).toBeGreaterThanOrEqual(hops.length)
    expect(events.at(-1)?.type).toBe('repaired')
    const changed = session.chain.map(({ peer }, hop) => peer !== before[hop])
    expect(changed).toEqual([0, 1, 2].map((hop) => hops.includes(hop)))
    // Nobody computed a row twice, and newcomers all of them once.
    await session.close()
    const length = prompt.length + TOKENS - 1
    expect(rows()).toEqual([length, length, length])
  })

  test('when it loses the tail that draws with penalties, a grammar and a seed', async () => {
    const prompt = await whole.tokenize(SUN)
    const grammar = 'root ::= [a-z ,.!?\\n"A-Z]*'
    const settings = { temperature: 0.7, topK: 40, seed: 11, repeatPenalty: 1.3, penaltyLastN: 64, grammar }
    const sampler = defaultSampler({ ...settings, generatedFrom: prompt.length })
    await open(sampler)
    const undisturbed = await all(session.generate(prompt, { maxTokens: TOKENS, endTokens: NO_END }))
    await session.close()
    await open(sampler)
    expect(await answerDuring(prompt, () => swarm.lose(...nodes(2)))).toEqual(undisturbed)
    expect(seen('repaired')).toBe(1)
    const plain = await wholeAnswer(whole, prompt, TOKENS)
    expect(undisturbed).not.toEqual(plain)
  })

  test('when it loses the tail whose grammar has heard its trigger, or waits for it', async () => {
    const prompt = await whole.tokenize(FISH)
    const plain = await wholeAnswer(whole, prompt, TOKENS)
    const text = Buffer.concat(
      (await whole.pieces(Int32Array.from(plain))).map(({ bytes }) => bytes)
    ).toString()
    const trigger = text.slice(4, 9) // before the tail is lost, and the rest of it after that
    for (const word of [trigger, text.slice(40, 46)]) {
      const grammar = `root ::= ${JSON.stringify(word)} [0-9a-f]+`
      const sampler = defaultSampler({ grammar, grammarTriggers: [word], generatedFrom: prompt.length })
      await open(sampler)
      const undisturbed = await all(session.generate(prompt, { maxTokens: TOKENS, endTokens: NO_END }))
      await session.close()
      expect(undisturbed).not.toEqual(plain)
      await doubled()
      await open(sampler)
      expect(await answerDuring(prompt, () => swarm.lose(...nodes(2)))).toEqual(undisturbed)
      await session.close()
    }
  })

  test('and says of each token how likely it was', async () => {
    const prompt = await whole.tokenize(FISH)
    const sampler = defaultSampler({ alternatives: 1 })
    const logs: (number | undefined)[] = []
    const listen = async (trouble: () => Promise<unknown>): Promise<(number | undefined)[]> => {
      logs.length = 0
      await open(sampler)
      const answer = session.generate(prompt, {
        ...{ maxTokens: TOKENS, endTokens: NO_END },
        onDraw: ({ token, log, alternatives }) => {
          logs.push(log)
          expect(alternatives).toEqual([{ token, log }])
        }
      })
      for (let count = 0; count < 8; count++) await answer.next()
      const troubled = trouble()
      await all(answer)
      await troubled
      return [...logs]
    }
    const undisturbed = await listen(async () => {})
    await session.close()
    const disturbed = await listen(() => swarm.lose(...nodes(2)))
    expect(disturbed).toHaveLength(TOKENS)
    for (const [index, log] of disturbed.entries()) expect(log).toBeCloseTo(undisturbed[index] as number, 1)
  })

  test('when it loses several, one after the other', async () => {
    const prompt = await whole.tokenize(FISH)
    await open()
    const answer = session.generate(prompt, { maxTokens: TOKENS, endTokens: NO_END })
    const drawn: number[] = []
    for (const hop of [2, 0, 1]) {
      for (let count = 0; count < 8; count++) drawn.push((await answer.next()).value as number)
      await swarm.lose(...nodes(hop))
    }
    drawn.push(...(await all(answer)))
    expect(drawn).toEqual(await wholeAnswer(whole, prompt, TOKENS))
  })
})

describe('a long prompt', () => {
  beforeEach(doubled)

  test.each([0, 1, 2])('that is being computed when hop %i is lost', async (hop) => {
    const prompt = await whole.tokenize('The dog ran to the tree. '.repeat(40))
    await open(defaultSampler())
    const answer = session.generate(prompt, { maxTokens: 8, endTokens: NO_END })
    const first = answer.next()
    await eventuallyComputes(nodes(hop)[0] as Node)
    await swarm.lose(...nodes(hop))
    const drawn = [(await first).value, ...(await all(answer))]
    expect(drawn).toEqual(await wholeAnswer(whole, prompt, 8))
    expect(seen('repaired')).toBe(1)
  })

  /** It has a part of a prompt in its engine. */
  async function eventuallyComputes(node: Node): Promise<void> {
    const { engine } = node.stage as NonNullable<Node['stage']>
    const { promise, resolve } = Promise.withResolvers<void>()
    const run = engine.run.bind(engine)
    engine.run = (groups) => {
      engine.run = run
      resolve()
      return run(groups)
    }
    await promise
  }
})

describe('between two turns', () => {
  beforeEach(doubled)

  test('a lost hop is replaced when the next one begins, and only newcomers compute the first again', async () => {
    const first = await whole.tokenize(SUN)
    await open()
    const answer = await all(session.generate(first, { maxTokens: 12, endTokens: NO_END }))
    await swarm.lose(...nodes(1))
    const second = Int32Array.from([...first, ...answer, ...(await whole.tokenize(' Then'))])
    const again = await all(session.generate(second, { maxTokens: 12, endTokens: NO_END }))
    expect(again).toEqual(await wholeAnswer(whole, second, 12))
    await session.close()
    const length = second.length + again.length - 1
    expect(rows()).toEqual([length, length, length])
  })

  test('a newcomer draws as the new turn asks', async () => {
    const prompt = await whole.tokenize(FISH)
    const settings = { temperature: 0.8, topK: 40, seed: 7 }
    await open()
    await all(session.generate(prompt, { maxTokens: 4, endTokens: NO_END }))
    await swarm.lose(...nodes(2))
    const sampler = defaultSampler(settings)
    const answer = await all(session.generate(prompt, { maxTokens: 20, endTokens: NO_END, sampler }))
    expect(answer).toEqual(await wholeAnswer(whole, prompt, 20, settings))
  })
})

describe('a lost hop is replaced', () => {
  test.each([
    ['by two stages', ['3-5', '5-7'], 1, ['0-3', '3-5', '5-6', '6-8']],
    ['by a wider one, which is left early', ['3-7'], 1, ['0-3', '3-6', '6-8']],
    ['with the one before it, where nobody begins there', ['0-7'], 1, ['0-6', '6-8']],
    ['with the one before it, by a tail', ['3-8'], 2, ['0-3', '3-8']],
    ['with the one after it, by a tail', ['3-8'], 1, ['0-3', '3-8']],
    ['with all others, by the whole model', ['0-8'], 1, ['0-8']]
  ])('%s', async (_, others, hop, expected) => {
    const chain = ['0-3', '3-6', '6-8']
    await swarm.shape(chain)
    const before = [...swarm.nodes]
    await swarm.shape([...chain, ...others])
    directory = await swarm.directory()
    await open(defaultSampler(), before)
    const prompt = await whole.tokenize(FISH)
    const answer = await answerDuring(prompt, () => swarm.lose(...nodes(hop)))
    expect(answer).toEqual(await wholeAnswer(whole, prompt, TOKENS))
    expect(session.chain.map(({ start, end }) => `${start}-${end}`)).toEqual(expected)
  })
})
