import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type MathNode, parseLatex } from './latex.ts'

function written(node: MathNode): string {
  if (typeof node === 'string') return node
  const inside = node.children.map(written)
  return node.tag === 'mrow' ? `{${inside.join('')}}` : `${node.tag}(${inside.join(',')})`
}
const parsed = (latex: string, isDisplay = false): string => written(parseLatex(latex, isDisplay))

describe('parseLatex', () => {
  test.each([
    ['x^2', 'msup(mi(x),mn(2))'],
    ['x_{i+1}', 'msub(mi(x),{mi(i)mo(+)mn(1)})'],
    ['a_1^2', 'msubsup(mi(a),mn(1),mn(2))'],
    ["f'", 'msup(mi(f),mo(′))'],
    ['\\frac{1}{\\sqrt[3]{x}}', 'mfrac(mn(1),mroot(mi(x),mn(3)))'],
    ['\\alpha \\leq 3.14', '{mi(α)mo(≤)mn(3.14)}'],
    ['\\mathbb{R}^n', 'msup(mi(ℝ),mi(n))'],
    ['\\left( x \\right]', '{mo(()mi(x)mo(])}'],
    ['\\text{if } x', '{mtext(if\u00A0)mi(x)}'],
    [
      '\\begin{pmatrix} a & b \\\\ c & d \\end{pmatrix}',
      '{mo(()mtable(mtr(mtd(mi(a)),mtd(mi(b))),mtr(mtd(mi(c)),mtd(mi(d))))mo())}'
    ],
    ['\\hat{x}', 'mover(mi(x),mo(^))'],
    ['\\nosuch', 'mtext(\\nosuch)']
  ])('%s', (latex, tree) => {
    expect(parsed(latex)).toBe(tree)
  })

  test('limits are below and above where there is room', () => {
    expect(parsed('\\sum_{i}^n', true)).toBe('munderover(mo(∑),mi(i),mi(n))')
    expect(parsed('\\sum_{i}^n')).toBe('msubsup(mo(∑),mi(i),mi(n))')
  })

  test('whatever comes, nothing fails, and nothing but MathML is made', () => {
    const known = /^(m(row|i|n|o|text|space|sub|sup|subsup|under|over|underover|frac|sqrt|root|table|tr|td))$/
    const check = (node: MathNode): void => {
      if (typeof node === 'string') return
      expect(node.tag).toMatch(known)
      for (const child of node.children) check(child)
    }
    const word = fc.constantFrom(
      ...[
        '{',
        '}',
        '^',
        '_',
        '&',
        '\\\\',
        '\\left',
        '\\right',
        '(',
        '\\begin{cases}',
        '\\end{cases}',
        '\\frac',
        '\\sqrt'
      ],
      ...[
        '[',
        ']',
        'x',
        '1',
        ' ',
        "'",
        '\\text',
        '\\mathbb',
        '\\sum',
        '\\',
        '%',
        '\n',
        '\\constructor',
        '\\__proto__'
      ]
    )
    const latex = fc.array(word, { maxLength: 30 }).map((words) => words.join(''))
    fc.assert(
      fc.property(fc.oneof(latex, fc.string()), fc.boolean(), (text, isDisplay) =>
        check(parseLatex(text, isDisplay))
      )
    )
    check(parseLatex('{'.repeat(5_000), true))
    check(parseLatex('\\sqrt'.repeat(5_000), true))
  })
})
