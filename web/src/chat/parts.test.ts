import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { partsOf } from './parts.ts'

const PARAGRAPH = `${'word '.repeat(200)}\n\n`

describe('partsOf', () => {
  test('a long text is cut before a paragraph', () => {
    const parts = partsOf(PARAGRAPH.repeat(12))
    expect(parts.length).toBeGreaterThan(1)
    expect(parts.every((part) => part.startsWith('word'))).toBe(true)
  })

  test.each(['- item\n\n', '```\n\nword\n\n', '    code\n\n', '> quote\n\n'])(
    'but not within a block: %j',
    (line) => {
      expect(
        partsOf(`${line.startsWith('`') ? '```\n' : ''}${line.replace(/^```\n/, '').repeat(2_000)}`)
      ).toHaveLength(1)
    }
  )

  test('nothing is lost, and cuts stay where they are while it grows', () => {
    const line = fc.constantFrom(
      PARAGRAPH,
      '\n',
      '```\n',
      '~~~\n',
      '- item\n',
      '# title\n',
      'x'.repeat(3_000),
      '\r\n'
    )
    fc.assert(
      fc.property(fc.array(line, { maxLength: 40 }), fc.nat(), (lines, place) => {
        const text = lines.join('')
        const parts = partsOf(text)
        expect(parts.join('')).toBe(text)
        const before = partsOf(text.slice(0, place % (text.length + 1)))
        expect(parts.slice(0, before.length - 1)).toEqual(before.slice(0, -1))
      })
    )
  })
})
