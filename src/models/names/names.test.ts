import { stat } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ShoalError } from '../../common/index.ts'
import { certifiedArchitectures, refusals } from '../../gguf/index.ts'
import { openModel } from '../model-file.ts'
import { catalogue, memoryNeeded, readCatalogue } from './catalogue.ts'
import { hubNameText, parseHubName } from './hub-name.ts'
import { type CatalogueName, resolveName } from './resolve.ts'
import { editDistance, similar } from './similar.ts'

const ID = '0123456789abcdef'.repeat(4)
const entries = Object.entries(catalogue().models).flatMap(([name, { sizes }]) =>
  Object.entries(sizes).map(([tag, size]) => ({ name: `${name}:${tag}`, size }))
)

function nameOf(text: string): string {
  return (resolveName(text) as CatalogueName).name
}

describe('a name', () => {
  test.each([
    ['./model.gguf', { kind: 'path', path: './model.gguf' }],
    ['model.GGUF', { kind: 'path', path: 'model.GGUF' }],
    ['~/models/x', { kind: 'path', path: '~/models/x' }],
    ['C:\\models\\x', { kind: 'path', path: 'C:\\models\\x' }],
    [ID.toUpperCase(), { kind: 'id', id: ID }],
    ['https://example.org/x.gguf', { kind: 'url', url: 'https://example.org/x.gguf' }],
    [
      'hf:a/b:Q8_0',
      { kind: 'hub', hub: { repository: 'a/b', revision: 'main', quant: 'Q8_0', file: undefined } }
    ]
  ])('%s is what it looks like', (text, meant) => {
    expect(resolveName(text)).toEqual(meant)
  })

  test.each([
    ['llama3.2', 'llama3.2:3b-q4_k_m'],
    [' Llama3.2:latest ', 'llama3.2:3b-q4_k_m'],
    ['LLAMA3.2:1B', 'llama3.2:1b-q4_k_m'],
    ['llama3.2:q8_0', 'llama3.2:3b-q8_0'],
    ['llama3.2:1b-Q8_0', 'llama3.2:1b-q8_0'],
    ['qwen3:30b-a3b', 'qwen3:30b-a3b-q4_k_m'],
    ['qwen3:30b-a3b-q6_k', 'qwen3:30b-a3b-q6_k'],
    ['gpt-oss', 'gpt-oss:20b-mxfp4']
  ])('%s is one of the catalogue', (text, meant) => {
    expect(nameOf(text)).toBe(meant)
  })

  test('of the catalogue says where its files are', async () => {
    expect(resolveName('llama3.2:1b')).toMatchObject({
      from: { hub: { repository: 'bartowski/Llama-3.2-1B-Instruct-GGUF', quant: 'Q4_K_M' } }
    })
    for (const name of ['demo', 'demo:draft']) {
      const { from, size } = resolveName(name) as CatalogueName
      const model = await openModel('path' in from ? from.path : '')
      await model.close()
      const { blockCount, architecture } = model
      expect(size).toMatchObject({ blocks: blockCount, architecture })
      expect((await stat(model.path)).size).toBe(size.quants.Q8_0)
    }
  })

  test.each([
    ['lama3.2', /Did you mean llama3\.2/],
    ['llama-3.2', /Did you mean llama3\.2/],
    ['qwen', /Did you mean qwen2\.5 or qwen2\.5-coder or qwen3\?/],
    ['gpt-oss-20b', /Did you mean gpt-oss:20b/],
    ['mistal', /Did you mean mistral/],
    ['llama3.2:2b', /Did you mean llama3\.2:1b or llama3\.2:3b/],
    ['llama3.2:1b-q4km', /Did you mean llama3\.2:1b-q4_k_m/],
    ['qwen3:70b', /Qwen 3 comes in 0\.6b \(Q4_K_M,/],
    ['nothing like it', /There are demo, llama3\.3/],
    ['bartowski/Some-GGUF:Q4_K_M', /On the hub it is hf:bartowski\/Some-GGUF:Q4_K_M/],
    ['', /Say which model/],
    ['constructor', /No model is called/],
    ['llama3.2:constructor', /comes in/]
  ])('%j that means nothing says what is like it', (text, message) => {
    expect(() => resolveName(text)).toThrow(message)
    expect(() => resolveName(text)).toThrow(expect.objectContaining({ code: 'NAME' }))
  })

  test('is resolved or refused, whatever it is', () => {
    const property = fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `hf:${text}`)
      ),
      (text) => {
        try {
          resolveName(text)
        } catch (error) {
          expect(error).toBeInstanceOf(ShoalError)
        }
      }
    )
    fc.assert(property, { seed: 8, numRuns: 1_000 })
  })

  test('on the hub is read as it is written', () => {
    for (const text of [
      'hf:a/b',
      'hf:a/b:Q4_K_M',
      'hf:a/b/c/d.gguf',
      'hf:a/b:Q8_0@refs/pr/1',
      'hf:a/b/c.gguf@v1'
    ]) {
      expect(hubNameText(parseHubName(text))).toBe(text)
    }
  })
})

describe('the catalogue', () => {
  test('names each model by what it is called', () => {
    for (const { name, size } of entries) {
      for (const quant of Object.keys(size.quants)) {
        expect(resolveName(`${name}-${quant}`)).toMatchObject({
          size,
          quant,
          name: `${name}-${quant.toLowerCase()}`
        })
      }
    }
  })

  test('says of each architecture what the slicer says', () => {
    for (const { name, size } of entries) {
      expect([name, size.splits]).toEqual([name, certifiedArchitectures.has(size.architecture)])
      expect([name, size.splits || refusals.has(size.architecture)]).toEqual([name, true])
    }
  })

  test('recommends drafts that are smaller and have the same tokenizer', () => {
    for (const { name, size } of entries) {
      if (size.draft === undefined) continue
      const { size: draft } = resolveName(size.draft) as CatalogueName
      expect([name, draft.tokenizer]).toEqual([name, size.tokenizer])
      expect(draft.parameters).toBeLessThan(size.parameters)
    }
  })

  test('has bytes that its parameters could take, less for fewer bits', () => {
    for (const { name, size } of entries) {
      const bytes = Object.values(size.quants)
      expect([name, bytes]).toEqual([name, bytes.toSorted((a, b) => a - b)])
      for (const each of bytes) {
        const bits = (8 * each) / size.parameters
        expect([name, bits > 4 && bits < 10]).toEqual([name, true])
      }
    }
  })

  test('has the families that people ask for, and what they need', () => {
    const names = new Set(Object.keys(catalogue().models).map((name) => name.replace(/[\d.-].*$/, '')))
    for (const family of ['llama', 'qwen', 'mistral', 'gemma', 'phi', 'gpt', 'deepseek', 'smollm']) {
      expect(names).toContain(family)
    }
    const { size, quant } = resolveName('llama3.1:8b') as CatalogueName
    expect(memoryNeeded(size, quant) / 2 ** 30).toBeCloseTo(5.3, 1)
  })

  test('that is none is refused', () => {
    expect(() =>
      readCatalogue({ version: 1, models: { x: { family: 'X', default: '1b', sizes: {} } } })
    ).toThrow(/no such default/)
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(() => readCatalogue(value)).toThrow(expect.objectContaining({ code: 'CATALOGUE' }))
      }),
      { seed: 9 }
    )
  })
})

describe('likeness', () => {
  test('counts letters inserted, dropped, changed and swapped', () => {
    expect(editDistance('', 'abc')).toBe(3)
    expect(editDistance('kitten', 'sitting')).toBe(3)
    expect(editDistance('llama', 'lalma')).toBe(1)
    expect(editDistance('qwen3', 'qwen3')).toBe(0)
  })

  test('is a metric but for swaps, and never more than the longer word', () => {
    const word = fc.string({ maxLength: 12 })
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b)
        expect(distance).toBe(editDistance(b, a))
        expect(distance === 0).toBe(a === b)
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length))
      }),
      { seed: 10 }
    )
  })

  test('ranks the nearest first, and leaves out other words', () => {
    expect(similar('q4_k_n', ['Q8_0', 'Q4_K_M', 'Q4_K_S', 'MXFP4'])).toEqual(['Q4_K_M', 'Q4_K_S'])
    expect(similar('zebra', ['llama', 'qwen'])).toEqual([])
  })
})
