import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formulaOf, markFormulas } from './math-marks.ts'

/** The formulas that are found. */
const found = (markdown: string): string[] =>
  Array.from(markFormulas(markdown).matchAll(/(`+)([\uE000\uE001][^\uE000\uE001]*?) \1/g), ([, , code]) => {
    const formula = formulaOf(code ?? '')
    return `${formula?.isDisplay ? 'display' : 'inline'} ${formula?.latex}`
  })

describe('formulas', () => {
  test.each([
    ['so $x_1$ and \\(y\\)', ['inline x_1', 'inline y']],
    ['$$\na = b\n$$', ['display a = b']],
    ['\\[ a \\]', ['display a']],
    ['it costs $5, or $10', []],
    ['from $5-$10', []],
    ['\\$x\\$', []],
    ['`$x$` and ``a ` $y$``', []],
    ['```\n$x$\n```\n$y$', ['inline y']],
    ['> ~~~\n> $x$', []],
    ['open $x', []],
    ['$a$ `b', ['inline a']]
  ])('%s', (markdown, formulas) => {
    expect(found(markdown)).toEqual(formulas)
  })

  test('all else stays as it is', () => {
    const text = fc.string({ unit: fc.constantFrom('a', ' ', '\n', '`', '*', '~', '\\', '5') })
    fc.assert(
      fc.property(text, (markdown) => {
        expect(markFormulas(markdown)).toBe(markdown)
      })
    )
  })

  test('beginnings alone cost no more than their length', () => {
    const started = performance.now()
    for (const sign of ['\\[', '\\(', '$$', '$', '`', '``` ']) markFormulas(`${sign} `.repeat(100_000))
    expect(performance.now() - started).toBeLessThan(3_000)
  })
})
