import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { LlamaEngine } from '../engine/index.ts'
import type { SamplerOptions } from '../net/index.ts'
import { samplerSettings } from '../stage/index.ts'
import { ModelDrafter } from './model-drafter.ts'
import { DraftEngine } from './model-drafter-engine.ts'
import { defaultSampler } from './sampler.ts'
import { FISH } from './testing.ts'

const NEVER = new AbortController().signal
const VOCABULARY = 1024

let draft: LlamaEngine
/** The same model in an engine of its own. */
let reference: LlamaEngine
let model: LlamaEngine
let shared: DraftEngine
let prompt: number[]

async function start(file: string): Promise<LlamaEngine> {
  const init = { context: 512, sequences: 2, threads: 1, gpuLayers: 0 }
  const engine = new LlamaEngine({ files: [file], ...init })
  await engine.start()
  return engine
}

beforeAll(async () => {
  ;[draft, reference, model] = await Promise.all([
    start('models/demo-draft.gguf'),
    start('models/demo-draft.gguf'),
    start('models/demo.gguf')
  ])
  prompt = [...(await model.tokenize(FISH))]
})

beforeEach(() => {
  shared = new DraftEngine(draft)
})

afterEach(() => shared.close())

afterAll(() => Promise.all([draft, reference, model].map((engine) => engine?.stop())))

function drafterOf(sampler: Partial<SamplerOptions> = {}, vocabulary = VOCABULARY): ModelDrafter {
  return new ModelDrafter(shared, { sampler: defaultSampler(sampler), vocabulary })
}

/** As a model draws, row by row. */
async function drawn(engine: LlamaEngine, ids: readonly number[], count: number, sampler: SamplerOptions) {
  const tokens = [...ids]
  await engine.drop(0)
  await engine.setSampler(0, samplerSettings(sampler, engine.description.context))
  for (let fed = 0; tokens.length < ids.length + count; ) {
    const rows = { sequence: 0, position: fed, tokens: Int32Array.from(tokens.slice(fed)) }
    fed = tokens.length
    const [result] = (await engine.run([{ ...rows, output: 'sample-last' }])).groups
    tokens.push(result?.sampled?.[0] as number)
  }
  return tokens.slice(ids.length)
}

test.each([defaultSampler(), defaultSampler({ temperature: 0.8, seed: 5 })])(
  'guesses what the draft model draws with the same settings at temperature $temperature, from anywhere on',
  async (sampler) => {
    const expected = await drawn(reference, prompt, 12, sampler)
    const drafter = drafterOf(sampler)
    const tokens = async (ids: readonly number[], most: number): Promise<number[]> =>
      (await drafter.draft(ids, most, NEVER)).map(({ token }) => token)
    const guesses: number[] = []
    while (guesses.length < 12) {
      const more = await tokens([...prompt, ...guesses], 4)
      expect(more.length).toBeGreaterThan(0)
      guesses.push(...more)
    }
    expect(guesses.slice(0, 12)).toEqual(expected)
    const wrong = (expected[3] as number) === 5 ? 6 : 5
    const other = [...prompt, ...expected.slice(0, 3), wrong]
    const [first] = await drawn(reference, other, 1, sampler)
    expect((await tokens(other, 1))[0]).toBe(first)
    expect((await tokens(prompt, 1))[0]).toBe(expected[0])
    await drafter.close()
  }
)

test('stops where all guesses together hardly hold, and tells how likely each one is', async () => {
  const drafter = drafterOf()
  const guesses = await drafter.draft(prompt, 500, NEVER)
  await drafter.close()
  expect(guesses.length).toBeGreaterThan(2)
  expect(guesses.length).toBeLessThan(100)
  for (const { probability } of guesses) {
    expect(probability).toBeGreaterThan(0)
    expect(probability).toBeLessThanOrEqual(1)
  }
})

test('says about how likely its guesses hold', async () => {
  const sampler = defaultSampler({ temperature: 0.8, seed: 3 })
  const answer = await drawn(model, prompt, 200, sampler)
  const drafter = drafterOf(sampler)
  let [believed, held, all] = [0, 0, 0]
  for (let known = 0; known < answer.length; ) {
    const guesses = await drafter.draft([...prompt, ...answer.slice(0, known)], 8, NEVER)
    for (const { token, probability } of guesses) {
      all += 1
      believed += probability
      if (token !== answer[known]) break
      held += 1
      known += 1
    }
    known += 1 // what the tail drew itself
  }
  await drafter.close()
  expect(all).toBeGreaterThan(50)
  expect(Math.abs(believed - held) / all).toBeLessThan(0.15)
})

describe('gives no guess', () => {
  test('beyond its context', async () => {
    const long = Array.from({ length: 513 }, (_, index) => 100 + (index % 500))
    const drafter = drafterOf()
    expect(await drafter.draft(long, 4, NEVER)).toEqual([])
    expect((await drafter.draft(long.slice(0, 512), 4, NEVER)).length).toBeLessThanOrEqual(1)
    await drafter.close()
  })

  test('that the model has no token for', async () => {
    const [first] = await drawn(reference, prompt, 1, defaultSampler())
    const drafter = drafterOf({}, first)
    expect(await drafter.draft(prompt, 4, NEVER)).toEqual([])
    await drafter.close()
  })

  test('for tokens that it has not, and goes on after them', async () => {
    const drafter = drafterOf({ logitBias: [{ token: VOCABULARY + 5, bias: 1 }] }, 2 * VOCABULARY)
    expect(await drafter.draft([...prompt, VOCABULARY + 5], 4, NEVER)).toEqual([])
    expect(await drafter.draft(prompt, 1, NEVER)).toHaveLength(1)
    await drafter.close()
  })

  test('while all sequences are taken', async () => {
    const drafters = [drafterOf(), drafterOf(), drafterOf()]
    const counts: number[] = []
    for (const drafter of drafters) counts.push((await drafter.draft(prompt, 1, NEVER)).length)
    expect(counts).toEqual([1, 1, 0])
    await drafters[0]?.close()
    expect(await drafters[2]?.draft(prompt, 1, NEVER)).toHaveLength(1)
    for (const drafter of drafters) await drafter.close()
  })

  test('that a grammar forbids', async () => {
    const drafter = drafterOf({ grammar: 'root ::= "once upon"', generatedFrom: prompt.length })
    const guesses = await drafter.draft(prompt, 20, NEVER)
    const pieces = await draft.pieces(Int32Array.from(guesses, ({ token }) => token))
    expect('once upon').toContain(Buffer.concat(pieces.map(({ bytes }) => bytes)).toString())
    await drafter.close()
  })
})

test('a call that is given up ends at once, and the next one waits until the engine is free', async () => {
  const drafter = drafterOf()
  const controller = new AbortController()
  const reason = new Error('never mind')
  const given = drafter.draft(prompt, 400, controller.signal)
  controller.abort(reason)
  await expect(given).rejects.toBe(reason)
  await expect(drafter.draft(prompt, 1, AbortSignal.abort(reason))).rejects.toBe(reason)
  const [first] = await drawn(reference, prompt, 1, defaultSampler())
  expect((await drafter.draft(prompt, 1, NEVER))[0]?.token).toBe(first)
  await drafter.close()
  expect(await drafter.draft(prompt, 1, NEVER)).toEqual([])
})

test('sessions share the cells: who drafts takes those of who does not', async () => {
  const ids = Array.from({ length: 400 }, (_, index) => 100 + (index % 500))
  const [one, other] = [drafterOf(), drafterOf()]
  for (const drafter of [one, other, one]) expect(await drafter.draft(ids, 1, NEVER)).toHaveLength(1)
  await Promise.all([one.close(), other.close()])
})

test('an engine that dies gives no guess until it is back', async () => {
  const engine = await start('models/demo-draft.gguf')
  const drafter = new ModelDrafter(new DraftEngine(engine), {
    sampler: defaultSampler(),
    vocabulary: VOCABULARY
  })
  const [before] = await drafter.draft(prompt, 1, NEVER)
  const { promise: restarted, resolve } = Promise.withResolvers<void>()
  engine.onStateChange((state) => state === 'restarted' && resolve())
  const dying = drafter.draft(prompt, 300, NEVER)
  engine.restart('a test')
  expect((await dying).length).toBeLessThan(300)
  expect(await drafter.draft(prompt, 1, NEVER)).toEqual([])
  await restarted
  expect((await drafter.draft(prompt, 1, NEVER))[0]).toEqual(before)
  await drafter.close()
  await engine.stop()
})
