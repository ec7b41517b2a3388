// How tokens are drawn: by seed and position only, and as the settings say.
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeModelFile } from '../../test/models/file.ts'
import { tinyModel } from '../../test/models/index.ts'
import type { DrawLogs, RowGroup, SamplerSettings } from './contract.ts'
import type { LlamaEngine } from './llama-engine.ts'
import { generate, largest, runOne, startEngine, textOf } from './testing.ts'

const GREEDY: SamplerSettings = { temperature: 0, seed: 1 }
const WARM: SamplerSettings = { temperature: 1, seed: 20 }
const COUNT = 40

let engine: LlamaEngine
let prompt: Int32Array
let greedy: number[]
let warm: number[]

beforeAll(async () => {
  engine = await startEngine()
  prompt = await engine.tokenize('Once upon a time, there was a little')
  greedy = await generate(engine, 0, prompt, COUNT, GREEDY)
  warm = await generate(engine, 0, prompt, COUNT, WARM)
})

afterAll(() => engine.stop())

/** The logits of each position of a text, in the batch shapes in which `generate` made them. */
async function logitsAlong(drawn: readonly number[]): Promise<Float32Array[]> {
  await engine.drop(3)
  const logits: Float32Array[] = []
  let rows = { position: 0, tokens: prompt }
  for (const token of drawn) {
    logits.push((await runOne(engine, { sequence: 3, ...rows, output: 'logits-last' })) as Float32Array)
    rows = { position: rows.position + rows.tokens.length, tokens: Int32Array.of(token) }
  }
  return logits
}

describe('a draw depends on seed and position only', () => {
  test('the same again, and with another seed another text', async () => {
    expect(await generate(engine, 1, prompt, COUNT, WARM)).toEqual(warm)
    expect(await generate(engine, 1, prompt, COUNT, { ...WARM, seed: 21 })).not.toEqual(warm)
    expect(warm).not.toEqual(greedy)
  })

  test('the same beside other sequences', async () => {
    await engine.drop(1)
    await engine.drop(2)
    await engine.setSampler(1, WARM)
    await engine.setSampler(2, { ...WARM, seed: 5 })
    await runOne(engine, { sequence: 2, position: 0, tokens: prompt.subarray(0, 4), output: 'none' })
    let rows = { position: 0, tokens: prompt }
    const drawn: number[] = []
    for (let step = 0; step < COUNT; step++) {
      const other = { position: 4 + step, tokens: Int32Array.of(warm[step] as number) }
      const { groups } = await engine.run([
        { sequence: 1, ...rows, output: 'sample-last' },
        { sequence: 2, ...other, output: 'sample-last' }
      ])
      const token = groups[0]?.sampled?.[0] as number
      drawn.push(token)
      rows = { position: rows.position + rows.tokens.length, tokens: Int32Array.of(token) }
    }
    expect(drawn).toEqual(warm)
  })

  test('the same when cut back and drawn again', async () => {
    await generate(engine, 1, prompt, COUNT, WARM)
    const kept = prompt.length + 10
    expect(await engine.truncate(1, kept)).toBe(kept)
    const wrong = Int32Array.of(5, 6, 7)
    await runOne(engine, { sequence: 1, position: kept, tokens: wrong, output: 'sample-all' })
    await engine.truncate(1, kept)
    const drawn: number[] = []
    for (let step = 10; step + 1 < COUNT; step++) {
      const rows = { position: prompt.length + step, tokens: Int32Array.of(warm[step] as number) }
      drawn.push((await runOne(engine, { sequence: 1, ...rows, output: 'sample-last' }))[0] as number)
    }
    expect(drawn).toEqual(warm.slice(11))
  })

  test("all at once ('sample-all') as one by one", async () => {
    for (const [settings, text] of [
      [GREEDY, greedy],
      [WARM, warm]
    ] as const) {
      await engine.drop(1)
      await engine.setSampler(1, settings)
      await runOne(engine, { sequence: 1, position: 0, tokens: prompt, output: 'none' })
      // Logits of a batch differ a little from those of single rows: a draw between two tokens may fall otherwise.
      let others = 0
      for (let at = 0; at < 20; ) {
        const rows = { position: prompt.length + at, tokens: Int32Array.from(text.slice(at, 20)) }
        const sampled = await runOne(engine, { sequence: 1, ...rows, output: 'sample-all' })
        at += sampled.length
        expect([...sampled.subarray(0, -1)]).toEqual(text.slice(at - sampled.length + 1, at))
        if (sampled.at(-1) !== text[at]) others += 1
        await engine.truncate(1, prompt.length + at)
      }
      expect(others).toBeLessThanOrEqual(2)
    }
  })

  test('up to the first row of a draft that was guessed wrong', async () => {
    await engine.drop(1)
    await engine.setSampler(1, { ...WARM, alternatives: 2 })
    await runOne(engine, { sequence: 1, position: 0, tokens: prompt, output: 'none' })
    const draft = [...warm.slice(0, 3), (warm[3] as number) + 1, ...warm.slice(4, 6)]
    const rows = { sequence: 1, position: prompt.length, output: 'sample-all' } as const
    const [wrong] = (await engine.run([{ ...rows, tokens: Int32Array.from(draft) }])).groups
    expect([...(wrong?.sampled ?? [])]).toEqual(warm.slice(1, 4))
    expect(wrong?.logs?.drawn).toHaveLength(3)
    expect(wrong?.logs?.tokens).toHaveLength(6)
    // All rows are in the cache.
    expect(await engine.truncate(1, prompt.length + 6)).toBe(prompt.length + 6)
    expect(await engine.truncate(1, prompt.length + 3)).toBe(prompt.length + 3)
    const right = { ...rows, position: prompt.length + 3, tokens: Int32Array.from(warm.slice(3, 6)) }
    expect([...(await runOne(engine, right))]).toEqual(warm.slice(4, 7))
  })
})

describe('settings', () => {
  test.each([
    ['top-k 1', { topK: 1 }],
    ['top-p 0', { topP: 0 }],
    ['min-p 1', { minP: 1 }],
    ['a temperature near 0', { temperature: 1e-30 }]
  ])('%s is greedy', async (_, settings) => {
    expect(await generate(engine, 1, prompt, COUNT, { ...WARM, ...settings })).toEqual(greedy)
  })

  test.each([
    ['top-k 3', { topK: 3 }, (sorted: number[]) => sorted.slice(0, 3)],
    [
      'min-p 0.3',
      { minP: 0.3 },
      (sorted: number[]) => sorted.filter((p) => p >= 0.3 * (sorted[0] as number))
    ],
    ['top-p 0.5', { topP: 0.5 }, (sorted: number[]) => sorted.slice(0, 1 + sorted.findIndex(reaches(0.5)))]
  ])('%s leaves only what it says', async (_, settings, keep) => {
    const drawn = await generate(engine, 1, prompt, COUNT, { ...WARM, temperature: 5, ...settings })
    const along = await logitsAlong(drawn)
    for (const [index, logits] of along.entries()) {
      const chances = probabilities(logits)
      const lowest = keep(chances.toSorted((a, b) => b - a)).at(-1) as number
      expect(chances[drawn[index] as number]).toBeGreaterThanOrEqual(lowest * 0.999)
    }
    expect(drawn).not.toEqual(greedy)
  })

  test('a bias of 100 forces a token', async () => {
    const logitBias = [{ token: 300, bias: 100 }]
    expect(await generate(engine, 1, prompt, 3, { ...GREEDY, logitBias })).toEqual([300, 300, 300])
    expect(await generate(engine, 1, prompt, 3, { ...WARM, logitBias })).toEqual([300, 300, 300])
  })

  test.each([
    ['greedily', GREEDY],
    ['by chance', WARM]
  ])('a bias of -Infinity bans tokens, %s', async (_, settings) => {
    const [likely] = await logitsAlong([0])
    const token = largest(likely as Float32Array)
    const second = (likely as Float32Array).map((logit, id) => (id === token ? -Infinity : logit))
    const banned = { ...settings, topK: 1, logitBias: [{ token, bias: -Infinity }] }
    expect(await generate(engine, 1, prompt, 1, banned)).toEqual([largest(second)])
  })

  test('with everything banned something is still drawn', async () => {
    const logitBias = Array.from({ length: engine.description.vocabulary }, (_, token) => ({
      token,
      bias: -Infinity
    }))
    const [token] = await generate(engine, 1, prompt, 1, { ...WARM, logitBias })
    expect(token).toBeGreaterThanOrEqual(0)
  })

  test.each([
    ['presence', { presencePenalty: 100 }],
    ['frequency', { frequencyPenalty: 100 }],
    ['repetition', { repeatPenalty: 1000 }]
  ])('a penalty on %s allows nothing twice within its reach', async (_, penalty) => {
    const penaltyLastN = 12
    const drawn = await generate(engine, 1, prompt, COUNT, { ...GREEDY, ...penalty, penaltyLastN })
    const text = [...prompt, ...drawn]
    for (let index = prompt.length; index < text.length; index++) {
      expect(text.slice(Math.max(0, index - penaltyLastN), index)).not.toContain(text[index])
    }
    expect(drawn).not.toEqual(greedy)
    // penalties look at the ids that are there, not at those that were
    await engine.truncate(1, prompt.length + 20)
    const rows = { position: prompt.length + 20, tokens: Int32Array.of(drawn[20] as number) }
    expect([...(await runOne(engine, { sequence: 1, ...rows, output: 'sample-last' }))]).toEqual([drawn[21]])
  })

  test('DRY over the whole text allows no three tokens twice', async () => {
    const dry = { multiplier: 100, base: 2, allowedLength: 2, penaltyLastN: -1, breakers: [] }
    const repeated = (text: readonly number[]) => {
      const triples = text.slice(2).map((_, index) => text.slice(index, index + 3).join())
      return triples.length - new Set(triples).size
    }
    const without = await generate(engine, 1, prompt, 200, GREEDY)
    const text = await generate(engine, 1, prompt, 200, { ...GREEDY, dry })
    expect(repeated(without)).toBeGreaterThan(0)
    expect(repeated(text)).toBe(0)
  })
})

describe('a grammar', () => {
  const grammar = 'root ::= ("yes" | "no") " " [0-9] [0-9] "é"'
  const MATCH = /^(yes|no) \d\dé$/
  const settings = (): SamplerSettings => ({ ...WARM, temperature: 3, grammar, generatedFrom: prompt.length })

  test('is what every text matches, and ends it', async () => {
    for (let seed = 0; seed < 5; seed++) {
      const drawn = await generate(engine, 1, prompt, 12, { ...settings(), seed })
      const end = drawn.indexOf(engine.description.endToken)
      expect(await textOf(engine, drawn.slice(0, end))).toMatch(MATCH)
    }
  })

  test('holds where all that it allows is banned', async () => {
    const banned = (await engine.tokenize('yes no')).values()
    const logitBias = [...banned].map((token) => ({ token, bias: -Infinity }))
    const drawn = await generate(engine, 1, prompt, 12, { ...settings(), logitBias })
    const end = drawn.indexOf(engine.description.endToken)
    expect(await textOf(engine, drawn.slice(0, end))).toMatch(MATCH)
  })

  test('gives -1 where what it was given leaves it, never sees a wrong guess, and goes on after a cut', async () => {
    const drawn = await generate(engine, 1, prompt, 4, settings())
    await engine.truncate(1, prompt.length)
    const rows = { sequence: 1, position: prompt.length, output: 'sample-all' } as const
    expect([...(await runOne(engine, { ...rows, tokens: Int32Array.of(1, 2) }))]).toEqual([-1])
    await engine.truncate(1, prompt.length)
    const draft = Int32Array.of(drawn[0] as number, 1, 2)
    expect([...(await runOne(engine, { ...rows, tokens: draft }))]).toEqual([drawn[1]])
    await engine.truncate(1, prompt.length)
    const right = { ...rows, tokens: Int32Array.from(drawn.slice(0, 3)) }
    const again = await runOne(engine, right)
    expect(again).not.toContain(-1)
    expect(await textOf(engine, drawn.slice(0, 3))).toMatch(/^(y|n)/)
  })

  test.each([
    ['no GBNF', 'root := "a"', /"::=" should come/],
    ['no rule root', 'main ::= "a"', /no rule "root"/],
    ['left recursion', 'root ::= root "a" | "b"', /left recursion of "root"/],
    ['endless depth', `root ::= ${'('.repeat(1e5)}"a"${')'.repeat(1e5)}`, /256 deep/]
  ])('%s is refused', async (_, bad, message) => {
    const refused = engine.setSampler(1, { ...GREEDY, grammar: bad })
    await expect(refused).rejects.toMatchObject({ code: 'INPUT', message: expect.stringMatching(message) })
  })
})

describe('a grammar that waits for a trigger', () => {
  let text: string
  let trigger: string
  let settings: SamplerSettings

  beforeAll(async () => {
    text = await textOf(engine, greedy)
    trigger = await textOf(engine, greedy.slice(8, 11))
    expect(text.indexOf(trigger)).toBe((await textOf(engine, greedy.slice(0, 8))).length)
    const grammar = `root ::= "${trigger}" [0-9]{3} "!"`
    settings = { ...GREEDY, grammar, grammarTriggers: ['<never>', trigger], generatedFrom: prompt.length }
  })

  test('changes nothing before, and holds from there on', async () => {
    const before = text.slice(0, text.indexOf(trigger))
    const drawn = await generate(engine, 1, prompt, COUNT, settings)
    const end = drawn.indexOf(engine.description.endToken)
    const said = await textOf(engine, drawn.slice(0, end))
    expect(said.startsWith(before + trigger)).toBe(true)
    expect(said.slice(before.length + trigger.length)).toMatch(/^[0-9]{3}!$/)
    const never = { ...settings, grammarTriggers: ['<never>'] }
    expect(await generate(engine, 1, prompt, COUNT, never)).toEqual(greedy)
  })

  test('is the same after rewinds, and where rows come once more', async () => {
    const drawn = await generate(engine, 1, prompt, COUNT, settings)
    for (const kept of [15, 10, 3, 0]) {
      await engine.truncate(1, prompt.length + kept)
      const rows = {
        sequence: 1,
        position: prompt.length + kept,
        tokens: Int32Array.of(drawn[kept] as number)
      }
      expect([...(await runOne(engine, { ...rows, output: 'sample-last' }))]).toEqual([drawn[kept + 1]])
    }
    await engine.drop(2)
    await engine.setSampler(2, settings)
    const tokens = Int32Array.of(...prompt, ...drawn.slice(0, 13))
    expect([...(await runOne(engine, { sequence: 2, position: 0, tokens, output: 'sample-last' }))]).toEqual([
      drawn[13]
    ])
  })

  test('takes triggers as they are, not as patterns', async () => {
    const odd = ['.*', '(a+)+$', '[', '\\']
    expect(await generate(engine, 1, prompt, COUNT, { ...settings, grammarTriggers: odd })).toEqual(greedy)
  })
})

describe('grammars of strangers', () => {
  let deep = 'root ::= r0\n'
  for (let rule = 0; rule < 60; rule++) deep += `r${rule} ::= r${rule + 1} "a" | r${rule + 1} "b"\n`
  const hostile: [string, string][] = [
    ['more at least than at most', 'root ::= "a"{5,2}'],
    ['hidden left recursion', 'root ::= n root "b" | "a"\nn ::= e\ne ::= ""'],
    ['rules that begin alike', `${deep}r60 ::= "x"`],
    ['stacks that double', 'root ::= s\ns ::= [ -~] s "a" | [ -~] s "b" | [ -~]'],
    ['a token within a text', 'root ::= "a" <[290]>'],
    ['an endless number', `root ::= "a"{${'9'.repeat(1000)}}`],
    ['a text of no characters', 'root ::= "\\x00"'],
    ['what cannot end', 'root ::= "a" root']
  ]

  test.each(hostile)('leave the engine and others alone: %s', async (_, grammar) => {
    const { process } = engine.description
    const attempt = generate(engine, 1, prompt, COUNT, { ...WARM, grammar, generatedFrom: prompt.length })
    const others = generate(engine, 2, prompt, COUNT, GREEDY)
    const outcome = await attempt.then(
      (drawn) => drawn.length,
      (error: unknown) => error
    )
    if (typeof outcome !== 'number') expect(outcome).toMatchObject({ code: 'INPUT' })
    expect(await others).toEqual(greedy)
    expect(engine.description.process).toBe(process)
  })
})

describe('how likely tokens were', () => {
  const grammar = 'root ::= [^q]+'
  const cases: [string, SamplerSettings][] = [
    ['greedily', GREEDY],
    ['by chance, with penalties', { ...WARM, repeatPenalty: 1.5, penaltyLastN: 20, topK: 30 }],
    ['with a grammar', { ...WARM, temperature: 2, grammar }],
    ['with a bias', { ...GREEDY, logitBias: [{ token: 300, bias: 100 }] }]
  ]

  test.each(cases)('is what the logits say, %s', async (_, settings) => {
    const generatedFrom = prompt.length
    const plain = await generate(engine, 1, prompt, COUNT, { ...settings, generatedFrom })
    await engine.drop(1)
    await engine.setSampler(1, { ...settings, generatedFrom, alternatives: 5 })
    const along = await logitsAlong(plain)
    let rows = { position: 0, tokens: prompt }
    for (const [index, token] of plain.entries()) {
      const { sampled, logs } = await runLogged({ sequence: 1, ...rows, output: 'sample-last' })
      expect([...sampled]).toEqual([token]) // asking changes nothing
      const expected = logProbabilities(along[index] as Float32Array)
      expect(logs.drawn[0]).toBeCloseTo(expected[token] as number, 4)
      const best = expected.map((log, id) => ({ log, id })).toSorted((a, b) => b.log - a.log)
      expect([...logs.tokens]).toEqual(best.slice(0, 5).map(({ id }) => id))
      for (const [place, log] of logs.logs.entries()) expect(log).toBeCloseTo(best[place]?.log as number, 4)
      rows = { position: rows.position + rows.tokens.length, tokens: Int32Array.of(token) }
    }
  })

  test('is told of every row of a draft, as far as the grammar allows it', async () => {
    await engine.drop(1)
    const generatedFrom = prompt.length
    await engine.setSampler(1, { ...GREEDY, alternatives: 2 })
    await runOne(engine, { sequence: 1, position: 0, tokens: prompt, output: 'none' })
    const tokens = Int32Array.from(greedy.slice(0, 6))
    const rows = { sequence: 1, position: prompt.length, tokens }
    const { logs } = await runLogged({ ...rows, output: 'sample-all' })
    await engine.truncate(1, prompt.length)
    const logits = await runOne(engine, { ...rows, output: 'logits-all' })
    const { vocabulary } = engine.description
    for (let row = 0; row < tokens.length; row++) {
      const expected = logProbabilities(
        (logits as Float32Array).subarray(row * vocabulary, (row + 1) * vocabulary)
      )
      expect(logs.drawn[row]).toBeCloseTo(Math.max(...expected), 4)
      expect(expected[logs.tokens[2 * row + 1] as number]).toBeCloseTo(logs.logs[2 * row + 1] as number, 4)
    }
    await engine.truncate(1, prompt.length)
    await engine.setSampler(1, { ...GREEDY, alternatives: 0, grammar: 'root ::= "no"', generatedFrom })
    const refused = await runLogged({ ...rows, output: 'sample-all' })
    expect([...refused.sampled]).toEqual([-1])
    expect(refused.logs.tokens).toHaveLength(0)
  })

  test('is told only where it is asked for', async () => {
    await engine.drop(1)
    const told: boolean[] = []
    let rows = { position: 0, tokens: prompt }
    for (const alternatives of [undefined, 0, 20, undefined]) {
      await engine.setSampler(1, { ...GREEDY, ...(alternatives === undefined ? {} : { alternatives }) })
      const { groups } = await engine.run([{ sequence: 1, ...rows, output: 'sample-last' }])
      told.push(groups[0]?.logs !== undefined)
      expect(groups[0]?.logs?.tokens.length ?? 0).toBe(alternatives ?? 0)
      rows = {
        position: rows.position + rows.tokens.length,
        tokens: groups[0]?.sampled as Int32Array<ArrayBuffer>
      }
    }
    expect(told).toEqual([false, true, true, false])
  })

  async function runLogged(group: RowGroup): Promise<{ sampled: Int32Array; logs: DrawLogs }> {
    const [result] = (await engine.run([group])).groups
    return result as { sampled: Int32Array; logs: DrawLogs }
  }
})

test('logits that are not numbers are an error, and the sequence stays as it was', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-sampling-'))
  const plan = tinyModel('llama')
  const path = await writeModelFile(folder, 'damaged', plan)
  const norm = plan.tensors.find(({ name }) => name === 'output_norm.weight')
  const file = await open(path, 'r+')
  const damage = new Uint8Array(new Float32Array([Number.NaN]).buffer)
  await file.write(damage, 0, 4, norm?.offset)
  await file.close()
  const damaged = await startEngine({ files: [path] })
  await damaged.setSampler(0, { ...WARM, topK: 40 })
  const rows = { sequence: 0, position: 0, tokens: Int32Array.of(1, 2, 3) } as const
  await expect(runOne(damaged, { ...rows, output: 'sample-last' })).rejects.toMatchObject({ code: 'COMPUTE' })
  await expect(runOne(damaged, { ...rows, output: 'none' })).resolves.toHaveLength(0)
  await damaged.stop()
  await rm(folder, { recursive: true })
})

function logProbabilities(logits: Float32Array): number[] {
  return probabilities(logits).map((chance) => Math.log(chance))
}

function probabilities(logits: Float32Array): number[] {
  const top = logits[largest(logits)] as number
  const powers = Array.from(logits, (logit) => Math.exp(logit - top))
  const sum = powers.reduce((total, power) => total + power, 0)
  return powers.map((power) => power / sum)
}

function reaches(limit: number): (p: number) => boolean {
  let sum = 0
  return (p) => {
    sum += p
    return sum >= limit
  }
}
