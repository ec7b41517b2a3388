// The session over real chains: what three nodes say is what one model says, and what goes wrong is named.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BLOCKS, TestSwarm, wholeAnswer, wholeModel } from '../../test/swarm.ts'
import type { LlamaEngine } from '../engine/index.ts'
import type { SamplerOptions } from '../net/index.ts'
import type { Node } from '../node/index.ts'
import type { ChainHop } from '../swarm/index.ts'
import { type Draw, openSession, type Session } from './index.ts'
import { defaultSampler } from './sampler.ts'
import { all, FISH, failure, NO_END, SUN } from './testing.ts'

/** Nobody can take over: what is lost is missed at once. */
const AT_ONCE = { waitMs: 0 }
/** Where nobody listens. */
const CLOSED = '/ip4/127.0.0.1/tcp/9'

let whole: LlamaEngine
let swarm: TestSwarm
let chain: ChainHop[]

beforeAll(async () => {
  whole = wholeModel()
  const [started] = await Promise.all([TestSwarm.start(['0-3', '3-6', '6-8']), whole.start()])
  swarm = started
  chain = await swarm.chain()
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), whole?.stop()])
})

function open(init: Partial<Parameters<typeof openSession>[1]> = {}): Promise<Session> {
  return openSession(swarm.consumer, { chain, sampler: defaultSampler(), reserve: 256, ...init })
}

/** Opens a session for one answer. */
async function ask(
  prompt: Int32Array,
  maxTokens: number,
  init: Partial<Parameters<typeof openSession>[1]> = {}
): Promise<number[]> {
  const session = await open(init)
  try {
    return await all(session.generate(prompt, { maxTokens, endTokens: NO_END }))
  } finally {
    await session.close()
  }
}

describe('an answer is the whole model’s, token for token', () => {
  test('the most likely tokens', async () => {
    const prompt = await whole.tokenize(FISH)
    expect(await ask(prompt, 48)).toEqual(await wholeAnswer(whole, prompt, 48))
  })

  test('drawn tokens', async () => {
    const prompt = await whole.tokenize(FISH)
    const settings = { temperature: 0.8, topK: 40, seed: 7 }
    const expected = await wholeAnswer(whole, prompt, 48, settings)
    expect(await ask(prompt, 48, { sampler: defaultSampler(settings) })).toEqual(expected)
    expect(expected).not.toEqual(await wholeAnswer(whole, prompt, 48))
  })

  test('after a prompt of several frames', async () => {
    const prompt = await whole.tokenize('The dog ran to the tree. '.repeat(40))
    expect(prompt.length).toBeGreaterThan(256)
    expect(await ask(prompt, 16, { reserve: 512 })).toEqual(await wholeAnswer(whole, prompt, 16))
  })

  test('with penalties over the whole context', async () => {
    const prompt = await whole.tokenize(SUN)
    const expected = await wholeAnswer(whole, prompt, 24, {
      ...{ temperature: 0, seed: 0, repeatPenalty: 1.5, penaltyLastN: 1024 }
    })
    const sampler = defaultSampler({ repeatPenalty: 1.5, penaltyLastN: -1 })
    expect(await ask(prompt, 24, { sampler })).toEqual(expected)
  })

  test('in two sessions at once', async () => {
    const prompts = await Promise.all([whole.tokenize(FISH), whole.tokenize(SUN)])
    const expected = []
    for (const prompt of prompts) expected.push(await wholeAnswer(whole, prompt, 40))
    expect(await Promise.all(prompts.map((prompt) => ask(prompt, 40)))).toEqual(expected)
  })

  test('where a stage is left before its end', async () => {
    const overlapping = await TestSwarm.start(['0-6', '3-8'])
    try {
      const early = await overlapping.chain()
      expect(early.map(({ start, end }) => [start, end])).toEqual([
        [0, 3],
        [3, BLOCKS]
      ])
      const prompt = await whole.tokenize(FISH)
      const session = await openSession(overlapping.consumer, {
        ...{ chain: early, sampler: defaultSampler(), reserve: 128 }
      })
      const answer = await all(session.generate(prompt, { maxTokens: 40, endTokens: NO_END }))
      await session.close()
      expect(answer).toEqual(await wholeAnswer(whole, prompt, 40))
    } finally {
      await overlapping.stop()
    }
  })
})

describe('how likely tokens were', () => {
  test('is told of those that are given, where the sampler asks for it', async () => {
    const prompt = await whole.tokenize(FISH)
    const session = await open()
    const draws: Draw[] = []
    const answer = (sampler: SamplerOptions, tokens: Int32Array) =>
      all(
        session.generate(tokens, {
          ...{ maxTokens: 8, endTokens: NO_END, sampler },
          onDraw: (draw) => draws.push(draw)
        })
      )
    const first = await answer(defaultSampler({ alternatives: 3 }), prompt)
    const second = await answer(
      defaultSampler({ temperature: 5, alternatives: 0 }),
      Int32Array.of(...prompt, ...first)
    )
    const third = await answer(defaultSampler(), prompt)
    await session.close()
    expect(draws.map(({ token }) => token)).toEqual([...first, ...second, ...third])
    const counts = draws.map(({ alternatives }) => alternatives?.length)
    expect(counts).toEqual([...Array(8).fill(3), ...Array(8).fill(0), ...Array(8).fill(undefined)])
    for (const { token, log, alternatives = [] } of draws.slice(0, 8))
      expect(alternatives[0]).toEqual({ token, log })
    // Of the last row the whole model says the same.
    const rows = Int32Array.of(...prompt, ...first.slice(0, 7))
    await whole.drop(0)
    const { groups } = await whole.run([{ sequence: 0, position: 0, tokens: rows, output: 'logits-last' }])
    const logits = groups[0]?.logits as Float32Array
    const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0)
    const expected = (logits[first[7] as number] as number) - Math.log(sum)
    expect(draws[7]?.log).toBeCloseTo(expected, 1)
  })

  test('where reading it fails, the answer does', async () => {
    const prompt = await whole.tokenize(FISH)
    const session = await open()
    const onDraw = (): never => {
      throw new Error('no more')
    }
    const answer = session.generate(prompt, { maxTokens: 8, endTokens: NO_END, onDraw })
    await expect(all(answer)).rejects.toThrow('no more')
    expect(await all(session.generate(prompt, { maxTokens: 2, endTokens: NO_END }))).toHaveLength(2)
    await session.close()
  })
})

describe('a second turn', () => {
  test('computes only what is new, and says what it would have said from scratch', async () => {
    const first = await whole.tokenize(SUN)
    const session = await open()
    const answer = await all(session.generate(first, { maxTokens: 12, endTokens: NO_END }))
    const second = Int32Array.from([...first, ...answer, ...(await whole.tokenize(' Then'))])
    const again = await all(session.generate(second, { maxTokens: 12, endTokens: NO_END }))
    await session.close()
    expect(again).toEqual(await wholeAnswer(whole, second, 12))
    // The last token of an answer is not computed: nobody asked for what comes after it.
    const rows = second.length + again.length - 1
    expect(session.figures.map((figures) => figures.rows)).toEqual([rows, rows, rows])
  })

  test('that parts from the first is cut back to what they have in common', async () => {
    const session = await open()
    for (const text of [
      'The sun was warm and the cat slept',
      'The sun was warm and the dog ran',
      SUN,
      FISH,
      SUN
    ]) {
      const prompt = await whole.tokenize(text)
      const answer = await all(session.generate(prompt, { maxTokens: 10, endTokens: NO_END }))
      expect(answer).toEqual(await wholeAnswer(whole, prompt, 10))
    }
    await session.close()
  })

  test('follows one that was given up in the middle', async () => {
    const prompt = await whole.tokenize(SUN)
    const session = await open()
    for await (const _ of session.generate(prompt, { maxTokens: 100, endTokens: NO_END })) break
    const answer = await all(session.generate(prompt, { maxTokens: 10, endTokens: NO_END }))
    expect(answer).toEqual(await wholeAnswer(whole, prompt, 10))
    await session.close()
  })

  test('has to wait for the first', async () => {
    const prompt = await whole.tokenize(SUN)
    const session = await open()
    const first = session.generate(prompt, { maxTokens: 100, endTokens: NO_END })
    await first.next()
    const error = await failure(session.generate(prompt, { maxTokens: 1, endTokens: NO_END }).next())
    expect(error.code).toBe('INPUT')
    await first.return()
    await session.close()
  })
})

describe('an answer ends', () => {
  test('at as many tokens as were asked for', async () => {
    const prompt = await whole.tokenize(SUN)
    // The reservation has room for exactly that: the last token takes no position.
    for (const maxTokens of [1, 2, 9]) {
      const reserve = prompt.length + maxTokens - 1
      expect(await ask(prompt, maxTokens, { reserve })).toHaveLength(maxTokens)
    }
  })

  test('with an end token, which is given too', async () => {
    const prompt = await whole.tokenize(SUN)
    const expected = await wholeAnswer(whole, prompt, 20)
    const end = expected[9] as number
    const session = await open()
    const answer = await all(session.generate(prompt, { maxTokens: 20, endTokens: new Set([end]) }))
    await session.close()
    expect(answer).toEqual(expected.slice(0, expected.indexOf(end) + 1))
  })

  test('when its signal is aborted, and closing frees every hop within a second', async () => {
    const prompt = await whole.tokenize(FISH)
    const session = await open()
    const giveUp = new AbortController()
    const answer = session.generate(prompt, { maxTokens: 200, endTokens: NO_END, signal: giveUp.signal })
    for (let drawn = 0; drawn < 5; drawn++) await answer.next()
    giveUp.abort(new Error('enough'))
    await expect(all(answer)).rejects.toThrow('enough')
    await session.close()
    await swarm.allFree(swarm.nodes, 1_000)
  })
})

describe('what cannot be', () => {
  test.each([
    ['no prompt', 0, 8],
    ['no answer', 4, 0],
    ['more than the stages have', 1_018, 8]
  ])('%s', async (_, rows, maxTokens) => {
    const session = await open()
    const answer = session.generate(new Int32Array(rows).fill(50), { maxTokens, endTokens: NO_END })
    expect((await failure(all(answer))).code).toBe('INPUT')
    await session.close()
  })

  test('more positions than a stage has', async () => {
    const error = await failure(open({ reserve: 5_000, ...AT_ONCE }))
    expect(error.code).toBe('INPUT')
    expect(error.message).toContain('5000 positions are asked for, the stages have 1024')
    await swarm.allFree()
  })

  test('an id that the model does not have ends this session and no other', async () => {
    const prompt = await whole.tokenize(FISH)
    const other = ask(prompt, 40)
    const error = await failure(ask(Int32Array.of(5, 1_000_000), 4))
    expect([error.code, error.hop]).toEqual(['INPUT', 0])
    expect(error.message).toContain('Token 1000000 is outside the vocabulary')
    expect(await other).toEqual(await wholeAnswer(whole, prompt, 40))
  })

  test('a grammar that does not parse', async () => {
    const error = await failure(open({ sampler: defaultSampler({ grammar: 'root ::= (' }) }))
    expect([error.code, error.hop]).toEqual(['INPUT', 2])
    expect(error.message).toContain('grammar')
    await swarm.allFree()
  })

  test('a chain without hops', async () => {
    expect((await failure(open({ chain: [] }))).code).toBe('INPUT')
  })

  test('a hop that is not who it should be', async () => {
    const stranger = await swarm.stranger()
    const { peerId: peer } = stranger.host
    await stranger.stop()
    const other = chain.map((hop, index) => (index === 1 ? { ...hop, peer } : hop))
    const error = await failure(open({ chain: other, ...AT_ONCE }))
    expect([error.code, error.hop]).toEqual(['LOST', 1])
    await swarm.allFree()
  })

  test('a hop that the one before cannot reach', async () => {
    const strangers = await TestSwarm.start(['0-4', '4-8'])
    try {
      // The consumer needs no address: it is connected. But it does not pass on frames.
      const [first, second] = (await strangers.chain()) as [ChainHop, ChainHop]
      const { host } = strangers.consumer
      const init = { sampler: defaultSampler(), reserve: 16, ...AT_ONCE }
      const unreachable = [first, { ...second, addresses: [CLOSED] }]
      const error = await failure(openSession({ host }, { ...init, chain: unreachable }))
      expect([error.code, error.hop]).toEqual(['LOST', 1])
      expect(error.message).toContain('the hop before cannot reach it: cannot reach')
      await strangers.allFree()
    } finally {
      await strangers.stop()
    }
  })

  test('a hop that does not host the model', async () => {
    const other = chain.map((hop, index) =>
      index === 1 ? { ...hop, stage: { ...hop.stage, model: 'f'.repeat(64) } } : hop
    )
    const error = await failure(open({ chain: other, ...AT_ONCE }))
    expect([error.code, error.hop]).toEqual(['REFUSED', 1])
    expect(error.message).toContain('does not host the model (model)')
    await swarm.allFree()
  })
})

describe('opening', () => {
  test('rejects with the reason of its signal, at once or later', async () => {
    const reason = new Error('changed my mind')
    await expect(open({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const giveUp = new AbortController()
    const opening = open({ signal: giveUp.signal })
    giveUp.abort(reason)
    await expect(opening).rejects.toBe(reason)
    await swarm.allFree()
  })
})

// Last, since engines have to come back after it.
describe('a hop that dies, and nobody is waited for', () => {
  test.each([0, 1, 2])(
    'hop %i, by its engine: the error names it and how far the answer got',
    async (hop) => {
      const prompt = await whole.tokenize(FISH)
      const session = await open()
      const answer = session.generate(prompt, { maxTokens: 200, endTokens: NO_END, ...AT_ONCE })
      for (let drawn = 0; drawn < 5; drawn++) await answer.next()
      const { engine } = (swarm.nodes[chainNode(hop)] as Node).stage as NonNullable<Node['stage']>
      const back = new Promise<void>((resolve) => {
        const stop = engine.onStateChange((state) => {
          if (state === 'restarted') resolve(stop())
        })
      })
      process.kill(engine.description.process, 'SIGKILL')
      const error = await failure(all(answer))
      expect([error.code, error.hop]).toEqual(['REFUSED', hop])
      expect(error.message).toMatch(
        new RegExp(`Hop ${hop + 1} of 3 .*\\(engine\\)\\. The answer had \\d+ tokens`, 's')
      )
      await session.close()
      await back
      await swarm.allFree()
      expect(await ask(prompt, 20)).toEqual(await wholeAnswer(whole, prompt, 20))
    }
  )

  test('with its node: the error names it', async () => {
    const prompt = await whole.tokenize(FISH)
    const session = await open()
    const answer = session.generate(prompt, { maxTokens: 200, endTokens: NO_END, ...AT_ONCE })
    for (let drawn = 0; drawn < 5; drawn++) await answer.next()
    const victim = swarm.nodes[chainNode(1)] as Node
    await victim.host.stop()
    const error = await failure(all(answer))
    expect([error.code, error.hop]).toEqual(['LOST', 1])
    await session.close()
    await swarm.allFree(swarm.nodes.filter((node) => node !== victim))
  })

  function chainNode(hop: number): number {
    return swarm.nodes.findIndex(({ host }) => host.peerId === chain[hop]?.peer)
  }
})
