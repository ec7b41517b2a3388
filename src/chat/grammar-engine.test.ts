// Grammars as llama.cpp reads them.
import { readdir, readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as z from 'zod'
import type { LlamaEngine } from '../engine/index.ts'
import { generate, startEngine, textOf } from '../engine/testing.ts'
import type { JsonSchema } from './contract.ts'
import { grammarOf, jsonGrammar } from './grammar.ts'
import { ChatTemplate } from './template.ts'

let engine: LlamaEngine
let prompt: Int32Array

beforeAll(async () => {
  engine = await startEngine()
  prompt = await engine.tokenize('Once upon a time')
})

afterAll(() => engine.stop())

/** The whole texts among those drawn with different seeds. */
async function texts(grammar: string, seeds: number, count: number): Promise<string[]> {
  const whole: string[] = []
  for (let seed = 0; seed < seeds; seed++) {
    const settings = { temperature: 1, seed, grammar, generatedFrom: prompt.length }
    const drawn = await generate(engine, 0, prompt, count, settings)
    const end = drawn.indexOf(engine.description.endToken)
    if (end >= 0) whole.push(await textOf(engine, drawn.slice(0, end)))
  }
  return whole
}

const PERSON: JsonSchema = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 12 },
    mood: { enum: ['happy', 'sad "today"', 'çà'] },
    age: { type: 'integer', minimum: 3, maximum: 117 },
    height: { type: 'number', exclusiveMinimum: 0, maximum: 2.5 },
    born: { type: 'string', format: 'date' },
    code: { type: 'string', pattern: '^[A-F]{2}-\\d{3}$' },
    friends: {
      type: 'array',
      items: {
        type: 'object',
        properties: { name: { type: 'string', maxLength: 8 } },
        required: ['name'],
        additionalProperties: false
      },
      maxItems: 2
    },
    pet: { anyOf: [{ type: 'null' }, { type: 'boolean' }] }
  },
  required: ['name', 'mood', 'age', 'height', 'born', 'code', 'friends'],
  additionalProperties: false
}

test('a nested schema at temperature 1: all that end follow it', async () => {
  const checker = z.fromJSONSchema(PERSON as Parameters<typeof z.fromJSONSchema>[0])
  const whole = await texts(grammarOf(PERSON), 12, 300)
  expect(whole.length).toBeGreaterThan(8)
  for (const text of whole) expect(checker.safeParse(JSON.parse(text)), text).toMatchObject({ success: true })
})

test('any JSON object', async () => {
  const whole = await texts(jsonGrammar, 6, 200)
  expect(whole.length).toBeGreaterThan(0)
  for (const text of whole) expect(JSON.parse(text)).toBeTypeOf('object')
})

test('long texts are counted in the engine, too', async () => {
  const [text] = await texts(
    grammarOf({ type: 'string', minLength: 5, maxLength: 20_000, pattern: undefined }),
    1,
    5
  )
  expect(text).toBeUndefined()
  const grammar = grammarOf({ type: 'string', minLength: 300, maxLength: 300 })
  for (const whole of await texts(grammar, 2, 400)) expect(JSON.parse(whole)).toHaveLength(300)
})

test('the grammars of calls, for each way of writing them', async () => {
  const folder = new URL('fixtures/', import.meta.url)
  const names = (await readdir(folder)).filter((name) => name.endsWith('.jinja'))
  const tools = [{ name: 'tell', parameters: PERSON }]
  expect(names.length).toBeGreaterThan(10)
  for (const name of names) {
    const template = await readFile(new URL(name, folder), 'utf8')
    for (const toolChoice of ['auto', 'required'] as const) {
      const { grammar } = new ChatTemplate({ template }, { begin: '<s>', end: '</s>' }).render(
        {
          kind: 'conversation',
          messages: [{ role: 'user', text: 'Hi' }],
          tools,
          toolChoice,
          parallelCalls: true
        },
        { kind: 'text' }
      )
      await engine.drop(0)
      const settings = { temperature: 1, seed: 1, grammar: grammar ?? '', generatedFrom: prompt.length }
      const drawn = await generate(engine, 0, prompt, 8, settings)
      expect(drawn, name).not.toContain(-1)
    }
  }
})
