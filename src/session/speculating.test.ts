// Guesses over real chains: what is said is what one model says, whatever is guessed and whoever is lost meanwhile.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { TestSwarm, wholeAnswer, wholeModel } from '../../test/swarm.ts'
import { delayOf, emulate } from '../../test/wan/index.ts'
import type { LlamaEngine } from '../engine/index.ts'
import type { Drafter, Guess } from './drafter.ts'
import { NgramDrafter } from './index.ts'
import { defaultSampler } from './sampler.ts'
import { Talk } from './swarm-testing.ts'
import { all, FISH, NO_END, SUN } from './testing.ts'

const SPANS = ['0-3', '3-6', '6-8']
const TOKENS = 48
/** Milliseconds: without, tokens come so fast that nothing is guessed. */
const RTT = 5

emulate(delayOf(RTT))

let whole: LlamaEngine
let swarm: TestSwarm
let talk: Talk

beforeAll(async () => {
  whole = wholeModel()
  ;[swarm] = await Promise.all([TestSwarm.start([...SPANS, ...SPANS]), whole.start()])
})

afterAll(async () => {
  await Promise.all([swarm?.stop(), whole?.stop()])
})

afterEach(async () => {
  await talk.session.close()
  await swarm.allFree()
})

/** Never right: no answer here has that token. */
class WrongDrafter implements Drafter {
  calls = 0

  draft(_ids: readonly number[], most: number): Guess[] {
    this.calls += 1
    return Array.from({ length: most }, () => ({ token: 5, probability: 1 }))
  }

  resample(): void {}

  async close(): Promise<void> {}
}

/** Knows the text, and is wrong after every tenth token. */
class KnowingDrafter extends WrongDrafter {
  readonly #text: readonly number[]

  constructor(text: readonly number[]) {
    super()
    this.#text = text
  }

  override draft(ids: readonly number[], most: number): Guess[] {
    const known = this.#text.slice(ids.length, ids.length + most)
    return known.map((token, index) => ({
      token: (ids.length + index) % 10 === 0 ? 5 : token,
      probability: 0.9
    }))
  }
}

describe('the text is the whole model’s', () => {
  test.each([
    ['greedy', {}],
    ['drawn', { temperature: 0.8, seed: 7 }],
    ['with penalties', { repeatPenalty: 1.3, penaltyLastN: 64 }]
  ])('with guesses from n-grams, %s', async (_, settings) => {
    const prompt = await whole.tokenize(SUN)
    const drafter = new NgramDrafter()
    talk = await Talk.open(swarm, { drafter, sampler: defaultSampler(settings) })
    const expected = await wholeAnswer(whole, prompt, TOKENS, { temperature: 0, seed: 0, ...settings })
    expect(await talk.answer(prompt, TOKENS)).toEqual(expected)
    expect(talk.session.speculation?.sent).toBeGreaterThan(0)
  })

  test('with guesses that are never right', async () => {
    const prompt = await whole.tokenize(FISH)
    const drafter = new WrongDrafter()
    talk = await Talk.open(swarm, { drafter })
    expect(await talk.answer(prompt, TOKENS)).toEqual(await wholeAnswer(whole, prompt, TOKENS))
    expect(talk.session.speculation).toMatchObject({ right: 0 })
    expect(drafter.calls).toBeGreaterThan(0)
  })

  test('in a second turn, and in one that was given up', async () => {
    const first = await whole.tokenize(SUN)
    const text = [...first, ...(await wholeAnswer(whole, first, TOKENS))]
    talk = await Talk.open(swarm, { drafter: new KnowingDrafter(text) })
    const given = await talk.answer(first, 20)
    expect(given).toEqual(text.slice(first.length, first.length + 20))
    const broken = talk.session.generate(first, { maxTokens: TOKENS, endTokens: NO_END })
    for (let count = 0; count < 7; count++) await broken.next()
    await broken.return()
    const second = Int32Array.from([...first, ...given, ...(await whole.tokenize(' Then'))])
    expect(await talk.answer(second, 12)).toEqual(await wholeAnswer(whole, second, 12))
  })

  test('with how likely each token was', async () => {
    const prompt = await whole.tokenize(SUN)
    const logs: unknown[] = []
    const text = [...prompt, ...(await wholeAnswer(whole, prompt, TOKENS))]
    const sampler = defaultSampler({ alternatives: 1 })
    talk = await Talk.open(swarm, { drafter: new KnowingDrafter(text), sampler })
    const answer = talk.session.generate(prompt, {
      ...{ maxTokens: TOKENS, endTokens: NO_END },
      onDraw: ({ token, log, alternatives }) => {
        logs.push(log)
        expect(alternatives).toEqual([{ token, log }])
      }
    })
    expect(await all(answer)).toEqual(text.slice(prompt.length))
    expect(logs).toHaveLength(TOKENS)
    expect(logs.every((log) => typeof log === 'number')).toBe(true)
    expect(talk.session.speculation?.right).toBeGreaterThan(0)
  })
})

describe('guesses are under way when a hop is lost', () => {
  test.each([0, 1, 2])('hop %i', async (hop) => {
    await swarm.shape([...SPANS, ...SPANS])
    const prompt = await whole.tokenize(FISH)
    const expected = await wholeAnswer(whole, prompt, TOKENS)
    talk = await Talk.open(swarm, { drafter: new KnowingDrafter([...prompt, ...expected]) })
    const answer = await talk.answer(prompt, TOKENS, () => swarm.lose(swarm.at(talk.chain[hop])))
    expect(answer).toEqual(expected)
    expect(talk.session.speculation?.right).toBeGreaterThan(0)
    expect(talk.count('repaired')).toBe(1)
  })
})
