// docs/study: its inputs are the catalogue's models, its formulas say what they should, its parts are all written.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  nodesNeeded,
  ringMs,
  streamedGain,
  streamedRowMs,
  tensorLinkMs,
  tensorPaysBelowMs,
  windowGain,
  windowTokens
} from '../bench/study/arithmetic.ts'
import { chart, digits, partsOf, rewritten, table } from '../bench/study/documents.ts'
import { blockParameters, LINKS, MACHINES, MODELS, modelNamed } from '../bench/study/inputs.ts'
import { SECTIONS } from '../bench/study/sections.ts'

const DOCS = join(import.meta.dirname, '../docs')
const chance = fc.double({ min: 0, max: 0.99, noNaN: true })

describe.each(MODELS)('$name', (model) => {
  const { listed, width, vocabulary, tied, kvHeads, headSize } = model
  test('has as many parameters as the catalogue says, to half a percent', () => {
    const { attention, feedForward } = blockParameters(model)
    const all = listed.blocks * (attention + feedForward) + width * vocabulary * (tied ? 1 : 2)
    expect(Math.abs(all / listed.parameters - 1)).toBeLessThan(0.005)
  })

  test('has a cache of the size that the catalogue says', () => {
    expect(listed.blocks * 2 * kvHeads * headSize * 2).toBe(listed.positionBytes)
  })

  test('all of its file is somewhere', () => {
    const { blockBytes, embeddingBytes, headBytes, fileBytes, readBytes } = model
    const blocks = blockBytes.reduce((sum, bytes) => sum + bytes, 0)
    expect(blocks + embeddingBytes + (tied ? 0 : headBytes)).toBeCloseTo(fileBytes, 0)
    expect(readBytes).toBeLessThanOrEqual(fileBytes)
  })
})

describe('formulas', () => {
  test('nodes hold the model: one more block does not fit on one fewer', () => {
    const model = modelNamed('llama3.3:70b')
    const machine = MACHINES.card
    const nodes = nodesNeeded(model, machine) as number
    expect(nodes * machine.memoryBytes).toBeGreaterThan(model.fileBytes)
    expect((nodes - 1) * machine.memoryBytes).toBeLessThan(model.fileBytes)
    expect(nodesNeeded(model, { ...machine, memoryBytes: 1e8 })).toBeUndefined()
  })

  test('a ring has half a round trip more than hops', () => {
    const model = modelNamed('llama3.1:8b')
    const far = { name: '', rttMs: 100, bitsPerSecond: 1e12 }
    const ring = (rttMs: number): number => ringMs(model, MACHINES.small, 3, { ...far, rttMs })
    expect(ring(100) - ring(0)).toBeCloseTo(200)
  })

  test('where tensor parallelism breaks even, both take as long', () => {
    const model = modelNamed('qwen3:32b')
    const rttMs = tensorPaysBelowMs(model, MACHINES.desktop, 4)
    const link = { name: '', rttMs, bitsPerSecond: 1e15 }
    const computing = ringMs(model, MACHINES.desktop, 1, { ...link, rttMs: 0 }) - 2
    expect(computing / 4 + tensorLinkMs(model, 4, link, 'direct')).toBeCloseTo(
      ringMs(model, MACHINES.desktop, 4, link),
      3
    )
  })

  test('one window has as many tokens as right guesses give, the series ends at windows in flight', () => {
    fc.assert(
      fc.property(chance, fc.integer({ min: 1, max: 64 }), (a, rows) => {
        const sum = Array.from({ length: rows }, (_, index) => a ** index).reduce(
          (all, each) => all + each,
          0
        )
        expect(windowTokens(a, rows)).toBeCloseTo(sum, 8)
        expect(windowTokens(a, rows)).toBeLessThanOrEqual(1 / (1 - a) + 1e-9)
      })
    )
    expect(windowTokens(1, 16)).toBe(16)
  })

  test('guesses in flight never lose while a row costs less than a ring; a window may', () => {
    fc.assert(
      fc.property(chance, fc.double({ min: 0, max: 1, noNaN: true }), (a, part) => {
        expect(streamedGain(a, 100, 100 * part)).toBeGreaterThanOrEqual(1 - 1e-12)
      })
    )
    expect(windowGain(0.1, 8, 240, 10)).toBeLessThan(1)
    expect(windowGain(0.5, 1, 240, 10)).toBe(1)
  })

  test('a streamed row is dearer than a row of a prompt, and cheaper than a step of its own', () => {
    for (const model of MODELS) {
      const stageMs = model.readBytes / MACHINES.card.bytesPerMs / 2
      const rowMs = streamedRowMs(model, MACHINES.card, 2)
      expect(rowMs).toBeGreaterThan(stageMs * MACHINES.card.prefillShare)
      expect(rowMs).toBeLessThan(stageMs + 2)
    }
  })

  test('links have the names of the profiles', () => {
    expect(LINKS.map(({ name }) => name)).toEqual(['lan', 'city', 'country', 'world', 'bad'])
  })
})

describe('documents', () => {
  test('every part that is written is in one document, and no other is', () => {
    const files = ['SIMULATION.md', ...readdirSync(join(DOCS, 'study')).map((file) => join('study', file))]
    const named = files.flatMap((file) => partsOf(readFileSync(join(DOCS, file), 'utf8')))
    expect(named.toSorted()).toEqual(Object.keys(SECTIONS).toSorted())
  })

  test('what is between parts stays, and writing twice changes nothing', () => {
    const document = 'a\n<!-- begin: x -->\nold\n<!-- end: x -->\nb\n<!-- begin: y -->\n<!-- end: y -->\n'
    const sections = { x: () => 'new', y: () => '| 1 |\n' }
    const once = rewritten(document, sections)
    expect(once).toBe(
      'a\n<!-- begin: x -->\nnew\n<!-- end: x -->\nb\n<!-- begin: y -->\n| 1 |\n<!-- end: y -->\n'
    )
    expect(rewritten(once, sections)).toBe(once)
    expect(() => rewritten(document, { x: () => '' })).toThrow(/nobody writes y/)
  })

  test('tables, numbers and curves', () => {
    expect(table(['a', 'b'], [['1', '']])).toBe('| a | b |\n| --- | --- |\n| 1 | |')
    expect([digits(1234.5), digits(0.01234), digits(1234.5, 5)]).toEqual(['1,200', '0.012', '1,234.5'])
    const drawn = chart({
      title: 't',
      x: { title: 'x', values: [1, 2] },
      y: { title: 'y' },
      lines: [[0.5, 2000]]
    })
    expect(drawn).toContain('x-axis "x" ["1", "2"]\n  y-axis "y" 0 --> 2000\n  line [0.5, 2000]')
  })
})
