import fc from 'fast-check'
import { expect, test } from 'vitest'
import { highlight } from './highlight.ts'

const kinds = (code: string, language: string): string[] =>
  highlight(code, language)
    .filter(({ kind }) => kind !== 'plain')
    .map(({ kind, text }) => `${kind} ${text}`)

test('tells comments, strings, numbers, keywords and calls', () => {
  expect(kinds('const a = f("x") // 1', 'ts')).toEqual([
    'keyword const',
    'name f',
    'string "x"',
    'comment // 1'
  ])
  expect(kinds('def f(): # no\n  return 0x1F', 'python')).toEqual([
    ...['keyword def', 'name f', 'comment # no', 'keyword return', 'number 0x1F']
  ])
  expect(kinds('SELECT a -- b', 'sql')).toEqual(['keyword SELECT', 'comment -- b'])
  expect(kinds('const a', 'nosuch')).toEqual([])
})

test('loses nothing', () => {
  const language = fc.constantFrom('ts', 'python', 'sql', 'html', 'yaml', 'nosuch', 'constructor')
  const code = fc.string({
    unit: fc.constantFrom('a', '1', '"', "'", '`', '/', '*', '#', '-', '\\', '\n', ' ', '<', '!')
  })
  fc.assert(
    fc.property(fc.oneof(code, fc.string()), language, (text, name) => {
      expect(
        highlight(text, name)
          .map((part) => part.text)
          .join('')
      ).toBe(text)
    })
  )
})
