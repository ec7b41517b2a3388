// What an engine does beside computing: text, devices, memory.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LlamaEngine } from './llama-engine.ts'
import { startEngine, textOf } from './testing.ts'

let engine: LlamaEngine

beforeAll(async () => {
  engine = await startEngine({ vocabularyOnly: true })
})

afterAll(() => engine.stop())

test.each([
  'Once upon a time',
  '  spaces,\n\ttabs \r\n and lines',
  'äöü ß, ελληνικά, 日本語, 👩‍👩‍👧‍👦 and \u0000 too',
  'a'.repeat(10_000),
  ''
])('text becomes ids and the same text again, case %#', async (text) => {
  const tokens = await engine.tokenize(text, { addSpecial: false })
  expect(await textOf(engine, tokens)).toBe(text)
})

test('a character that is spread over several tokens comes as bytes of each', async () => {
  const tokens = await engine.tokenize('👋', { addSpecial: false })
  const pieces = await engine.pieces(tokens)
  expect(pieces.length).toBeGreaterThan(1)
  expect(Buffer.concat(pieces.map(({ bytes }) => bytes))).toEqual(Buffer.from('👋'))
})

test('special tokens are parsed and written when asked for', async () => {
  const text = '<|user|>Hello<|end|>'
  const special = await engine.tokenize(text, { addSpecial: false })
  const plain = await engine.tokenize(text, { addSpecial: false, parseSpecial: false })
  expect(special.length).toBeLessThan(plain.length)
  expect(await textOf(engine, plain)).toBe(text)
  expect(await textOf(engine, special)).toBe('Hello')
  const pieces = await engine.pieces(special, { special: true })
  expect(Buffer.concat(pieces.map(({ bytes }) => bytes)).toString()).toBe(text)
})

test('pieces say which token ends an answer', async () => {
  const { endToken, endTokens } = engine.description
  expect(endTokens).toContain(endToken)
  const [end, other] = await engine.pieces(Int32Array.of(endToken, 300))
  expect([end?.end, other?.end]).toEqual([true, false])
})

test('ids outside of the vocabulary are refused', async () => {
  for (const token of [-1, engine.description.vocabulary]) {
    await expect(engine.pieces(Int32Array.of(token))).rejects.toMatchObject({ code: 'INPUT' })
  }
})

test('a vocabulary alone has no blocks and runs no rows', async () => {
  expect(engine.description).toMatchObject({ blocks: 0, context: 0, sequences: 0, vocabulary: 1024 })
  const rows = { sequence: 0, position: 0, tokens: Int32Array.of(1), output: 'none' } as const
  await expect(engine.run([rows])).rejects.toMatchObject({ code: 'INPUT' })
  await expect(engine.drop(0)).rejects.toMatchObject({ code: 'INPUT' })
})

test('devices and memory', async () => {
  const devices = await engine.devices()
  const cpu = devices.find(({ kind }) => kind === 'cpu')
  expect(cpu?.memoryTotal).toBeGreaterThan(cpu?.memoryFree ?? Number.POSITIVE_INFINITY)
  expect(engine.description.devices.map(({ name }) => name)).toEqual(devices.map(({ name }) => name))
  expect(await engine.memory()).toBeGreaterThan(10_000_000)
})
